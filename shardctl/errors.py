"""What can go wrong, and the exit code of each kind of error.

    ShardctlError                  70   a bug in shardctl itself
    ├── UsageError                  2   the request is invalid
    ├── InputError                  3   the source is missing, damaged or unsafe
    │   ├── MissingError            3   … a file, a key or a shard does not exist
    │   ├── FormatError             3   … its bytes break the format's rules; has a finding's code
    │   └── SourceChangedError      3   … it is not the file that was planned for
    ├── TargetError                 4   the target cannot be written as it is
    │   ├── TargetExistsError       4   … a checkpoint or a file of that name exists
    │   └── LockedError             4   … another run holds the target
    └── StorageError                5   reading or writing failed, or there is no room

    Stopped                128+signal   a signal interrupted the run; not an error of the tree

Every error says what is wrong (`message`), where (`file`, `tensor`, `offset` in bytes, each where
known) and what to do next (`hint`). Errors are raised where the fact is known and rendered in one
place, by the CLI. They can be pickled, so that a task in another process can raise them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


class ShardctlError(Exception):
    """Root of the tree, never raised itself. `exit_code` is what the process ends with."""

    exit_code = 70
    code = "internal-error"

    def __init__(
        self,
        message: str,
        *,
        hint: str,
        code: str | None = None,
        file: str | None = None,
        tensor: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.file = file
        self.tensor = tensor
        self.offset = offset
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[Callable[..., ShardctlError], tuple[str], dict[str, Any]]:
        # Pickle would call the class with the message alone, and the hint is a keyword argument.
        return partial(type(self), hint=self.hint), (self.message,), dict(self.__dict__)


class UsageError(ShardctlError):
    """The request is invalid."""

    exit_code = 2
    code = "usage"


class InputError(ShardctlError):
    """The source is missing, damaged or unsafe."""

    exit_code = 3
    code = "input"


class MissingError(InputError):
    """A file, a key or a shard does not exist."""

    code = "not-found"


class FormatError(InputError):
    """The bytes of a file break the rules of its format. `code` is the finding's code."""


class SourceChangedError(InputError):
    """The source is not the file that was planned for."""

    code = "source-changed"


class TargetError(ShardctlError):
    """The target cannot be written as it is."""

    exit_code = 4
    code = "target"


class TargetExistsError(TargetError):
    """A checkpoint or a file of that name exists."""

    code = "target-exists"


class LockedError(TargetError):
    """Another run holds the target."""

    code = "locked"


class StorageError(ShardctlError):
    """Reading or writing failed, or there is no room."""

    exit_code = 5
    code = "storage"


class Stopped(BaseException):
    """A signal interrupted the run. Like KeyboardInterrupt, it is not an `Exception`.

    `complete` is the path of the result where it was complete by then, else None.
    """

    def __init__(self, signum: int, complete: str | None = None) -> None:
        super().__init__(signum, complete)
        self.signum = signum
        self.complete = complete
