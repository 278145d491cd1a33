"""`python -m shardctl`, and the console script."""

from __future__ import annotations

import gc
import os
import sys

#: New objects that make up for old ones before cyclic garbage is looked for among them (Python's
#: own: 700), and how often that is done before it is looked for among older ones (Python's own:
#: 10). What is imported, and the headers of a large checkpoint, are up to millions of objects that
#: live on, and no garbage.
_NEW_OBJECTS, _TIMES = 100_000, 1_000


def main() -> None:
    """Run the command line and end the process with its exit code."""
    gc.set_threshold(_NEW_OBJECTS, _TIMES)
    try:
        from shardctl.cli import process

        process.prepare()
    except KeyboardInterrupt:  # Ctrl-C before `prepare` has seen to the signals
        from signal import SIGINT

        from shardctl.cli import process

        process.end(SIGINT)
    from shardctl.cli.app import app
    from shardctl.cli.exits import run

    code = run(app, sys.argv[1:])
    if code > 128:
        # A stopped run may have a thread inside a long sync; the journal is in order, so it is not
        # waited for.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)
    # Python searches all objects for garbage once more when it exits, but not the frozen ones.
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()
