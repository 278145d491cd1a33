"""How a command ends: an exit code, one rendered error, or results that are complete."""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from typing import Any, TextIO

import typer

from shardctl.cli.guidance.remedies import spelled
from shardctl.cli.process import asked, command_of, debugging, discard, stoppable, stopped
from shardctl.errors import ShardctlError, Stopped, StorageError, UsageError

CLOSED_PIPE = 141
#: A check failed: something is wrong, differs, or would change.
WORK_TO_DO = 1
#: The commands that resume an interrupted run.
WRITERS = ("split", "merge", "reshard", "apply")


def run(app: Callable[..., object], arguments: Sequence[str]) -> int:
    """Run the application and return the exit code; an error is rendered on stderr."""
    if not arguments:
        return _show_help(app)
    if arguments[0] == "help":
        arguments = [*arguments[1:], "--help"]
    as_json = asked("json", arguments)
    try:
        with stoppable():
            code = app(args=list(arguments), prog_name="shardctl", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except Stopped as caught:
        return _say_stopped(caught, resumable=command_of(arguments) in WRITERS, as_json=as_json)
    except (BrokenPipeError, SystemExit):
        # Typer makes SystemExit(1) of a closed pipe, and of nothing else here. There is no message:
        # the reader has what it wanted (`| head`).
        return CLOSED_PIPE
    except Exception as caught:  # the last line of defence: a bug must not look like exit code 1
        if debugging(arguments):
            traceback.print_exc()
        error = _as_ours(caught)
        say_error(error, as_json=as_json)
        return error.exit_code


def _show_help(app: Callable[..., object]) -> int:
    """Show the help without a command: a message on stderr, not a result."""
    with redirect_stdout(sys.stderr):
        app(args=["-h"], prog_name="shardctl", standalone_mode=False)
    return UsageError.exit_code


def _say_stopped(caught: Stopped, *, resumable: bool, as_json: bool) -> int:
    document = stopped(caught.signum, resumable=resumable, complete=caught.complete)
    text = f"{document['message']}\n  hint: {document['hint']}"
    if as_json:
        text = json.dumps(document)
    elif caught.complete is not None:
        text = _printable(text)
    print(text, file=sys.stderr, flush=True)
    return 128 + caught.signum


def _as_ours(error: BaseException) -> ShardctlError:
    if isinstance(error, ShardctlError):
        return error
    from shardctl.cli.guidance.usage import explain  # noqa: PLC0415 - only needed when something went wrong

    return explain(error) if isinstance(error, typer.TyperException) else _bug(error)


def say_error(error: ShardctlError, *, as_json: bool) -> None:
    """Print an error to stderr: a line with place and message, and a line with the hint."""
    from shardctl.text import printable  # noqa: PLC0415 - only needed when something went wrong

    if as_json:
        print(json.dumps(as_document(error)), file=sys.stderr)
        return
    # A short name is in almost any message, so only a quoted one counts. A name with a line break
    # could say anything in the line after it.
    tensor = None if error.tensor is None else printable(error.tensor)
    named = [
        *([error.file] if error.file is not None and error.file not in error.message else []),
        *([tensor] if tensor is not None and f"'{tensor}'" not in error.message else []),
    ]
    where = "".join(f"'{printable(name)}': " for name in named)
    at = "" if error.offset is None or "byte" in error.message else f" (at byte {error.offset:,})"
    text = f"error: {where}{spelled(error.message)}{at}\n  hint: {spelled(error.hint)}"
    print(_printable(text), file=sys.stderr)


def as_document(caught: BaseException) -> dict[str, Any]:
    """Return an error, or the signal that stopped a run, as the JSON object that scripts get."""
    if isinstance(caught, Stopped):
        return stopped(caught.signum, resumable=False, complete=caught.complete)
    error = _as_ours(caught)
    return {
        "error": error.code,
        "message": spelled(error.message),
        "file": error.file,
        "tensor": error.tensor,
        "offset": error.offset,
        "hint": spelled(error.hint),
        "exit_code": error.exit_code,
    }


def _printable(text: str) -> str:
    from shardctl.text import printable  # noqa: PLC0415 - only needed when something went wrong

    return "\n".join(printable(line) for line in text.split("\n"))


def _bug(error: BaseException) -> ShardctlError:
    return ShardctlError(
        f"{type(error).__name__}: {error}",
        hint="this is a bug in shardctl: run the command again with --debug and report the "
        "traceback",
    )


def log(text: str, *, quiet: bool = False) -> None:
    """Print a message to stderr."""
    from shardctl.text import printable  # noqa: PLC0415 - many commands have nothing to say

    if not quiet:
        print(printable(spelled(text)), file=sys.stderr)


def write_stdout(text: str | Iterable[str]) -> None:
    """Print results, whole or in pieces.

    Raises BrokenPipeError where stdout is closed, StorageError where writing to it fails.
    """
    if sys.stdout is None:  # closed before the start, as `>&-` does
        raise BrokenPipeError
    try:
        for piece in (text,) if isinstance(text, str) else text:
            _write_whole(sys.stdout, piece)
        sys.stdout.flush()
    except OSError as error:
        discard(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise
        raise StorageError(
            f"cannot write to standard output: {error.strerror}",
            hint="free space where the output goes; the files that the command wrote are complete",
        ) from None


def _write_whole(stream: TextIO, text: str) -> None:
    """Write text to a stream in any encoding.

    The bytes of a path are written as they are; characters that the encoding lacks are escaped.
    """
    try:
        stream.write(text)
    except UnicodeEncodeError:  # nothing of it is written then
        stream.flush()
        # Python decodes bytes of a path that are not valid text to these lone surrogates.
        for part in re.split("([\udc80-\udcff]+)", text):
            errors = "surrogateescape" if "\udc80" <= part[:1] <= "\udcff" else "backslashreplace"
            stream.buffer.write(part.encode(stream.encoding, errors))
