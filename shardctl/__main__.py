"""`python -m shardctl`, and the console script."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    from shardctl.cli.app import app  # noqa: PLC0415 - importing this module must cost nothing
    from shardctl.cli.exits import run  # noqa: PLC0415

    if sys.stderr is None:
        # Closed before the start (`2>&-`): without this `print` would talk on stdout instead.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
    code = run(app, sys.argv[1:])
    if code > 128:
        # A stopped run may have a thread inside a long sync; the journal is in order, so it is not waited for.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
