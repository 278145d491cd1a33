"""What can go wrong, and the exit code that each kind has.

    ShardctlError                  70   a fault of shardctl itself
    ├── UsageError                  2   the request makes no sense as it stands
    ├── InputError                  3   the source is missing, damaged or unsafe
    │   ├── MissingError            3   … a file, a key or a shard is not there
    │   ├── FormatError             3   … its bytes break the format's rules; carries the finding
    │   └── SourceChangedError      3   … it is not the file that was planned for
    ├── TargetError                 4   something is in the way
    │   ├── TargetExistsError       4   … a checkpoint or a file of that name
    │   └── LockedError             4   … another run holds the target
    └── StorageError                5   reading or writing failed, or there is no room

    Stopped                128+signal   a signal asked the run to stop; not an error of the tree

Every error says what is wrong (`message`), where (`file`, `tensor`, `offset` in bytes, each where
known) and what to do next (`hint`). They are raised where the fact is known and rendered in one
place, by the CLI.
"""

from __future__ import annotations


class ShardctlError(Exception):
    """The root of the tree. Never raised itself; `exit_code` is what the process ends with."""

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


class UsageError(ShardctlError):
    """The request makes no sense as it stands."""

    exit_code = 2
    code = "usage"


class InputError(ShardctlError):
    """The source is missing, damaged or unsafe."""

    exit_code = 3
    code = "input"


class MissingError(InputError):
    """A file, a key or a shard is not there."""

    code = "not-found"


class FormatError(InputError):
    """The bytes of a file break the rules of its format; `code` is the finding's code."""


class SourceChangedError(InputError):
    """The source is not the file that was planned for."""

    code = "source-changed"


class TargetError(ShardctlError):
    """Something is in the way."""

    exit_code = 4
    code = "target"


class TargetExistsError(TargetError):
    """A checkpoint or a file of that name is already there."""

    code = "target-exists"


class LockedError(TargetError):
    """Another run holds the target."""

    code = "locked"


class StorageError(ShardctlError):
    """Reading or writing failed, or there is no room."""

    exit_code = 5
    code = "storage"


class Stopped(BaseException):
    """A signal asked the run to stop. Passes every `except Exception`, as KeyboardInterrupt does."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
