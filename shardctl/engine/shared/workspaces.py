"""Workspaces: a directory for each process of a shared run, in which it writes apart from others.

    TARGET/.shardctl/parts/TOKEN/lease    held while the process is at work; names it
    TARGET/.shardctl/parts/TOKEN/NAME     a file that it is writing

A file leaves its workspace only when it is whole. So a process that was killed leaves nothing that
another one could take for finished, two that write the same file do not meet, and whoever removes a
workspace stops its process from finishing anything.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from shardctl.engine.commit.staging import PARTS, Staging
from shardctl.errors import MissingError, ShardctlError
from shardctl.stores.base import Directory
from shardctl.stores.optional import can_lease, lease

LEASE, RECEIPT = "lease", "receipt"
#: What else a process may leave in its workspace: its lock on removing a lease that is not held.
_OWN = (LEASE, f"{LEASE}~", RECEIPT)
_TOKEN = re.compile(r"[0-9a-f]{16}")
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Workspace:
    """One process's directory, open, and its lease, which is held."""

    staging: Staging
    token: str
    directory: Directory

    def path(self, name: str) -> str:
        """Return the path of a file in it."""
        return self.staging.path(PARTS, self.token, name)


@contextmanager
def workspace(staging: Staging, names: Collection[str]) -> Iterator[Workspace]:
    """Make a workspace for files of these names, and remove it with all that is left in it.

    Raises StorageError, also where the run was discarded meanwhile.
    """
    with ExitStack() as held:
        room = _make(staging, held)
        try:
            yield room
        finally:
            with suppress(ShardctlError):
                _empty(room.directory, names, keep=_OWN[:2])
            held.close()
            _remove_empty(staging, room.token)


def _make(staging: Staging, held: ExitStack) -> Workspace:
    for left in reversed(range(_TRIES)):
        token = secrets.token_hex(8)
        with ExitStack() as opened:
            try:
                parts = opened.enter_context(staging.own.make_subdirectory(PARTS))
                directory = opened.enter_context(parts.make_subdirectory(token))
                opened.enter_context(lease(staging.store, staging.path(PARTS, token, LEASE)))
            except ShardctlError:
                # Another process may have removed it as one that no process holds.
                if not left:
                    raise
                continue
            held.push(opened.pop_all())
            break
    return Workspace(staging, token, directory)


def remove_abandoned(staging: Staging, names: Collection[str]) -> None:
    """Remove the workspaces of processes of this machine that have ended, as far as is known.

    Nothing is known in a store without leases, where they stay until the run ends.
    """
    if not can_lease(staging.store):
        return
    for token in _tokens(staging):
        with suppress(ShardctlError), lease(staging.store, staging.path(PARTS, token, LEASE)):
            _remove_files(staging, token, names)
        _remove_empty(staging, token)


def remove_workspaces(staging: Staging, names: Collection[str]) -> None:
    """Remove every workspace with its files of these names, whoever is at work there."""
    if staging.own.identity(PARTS) is None:
        return
    for token in _tokens(staging):
        _remove(staging, token, names)
    staging.remove_empty(PARTS)


def _tokens(staging: Staging) -> list[str]:
    parts = staging.own.subdirectory(PARTS)
    if parts is None:
        return []
    with parts:
        return [name for name in parts.names() if _TOKEN.fullmatch(name)]


def _remove_files(staging: Staging, token: str, names: Collection[str]) -> None:
    with _opened(staging, token) as (_, directory):
        _empty(directory, names, keep=_OWN[:2])


def _remove_empty(staging: Staging, token: str) -> None:
    """Remove the directory of a workspace that was emptied.

    Its process may have made it a moment ago, and hold the lease by now: then it is not empty.
    """
    with suppress(ShardctlError), _opened(staging, token) as (parts, _):
        parts.remove_subdirectory(token)


def _remove(staging: Staging, token: str, names: Collection[str]) -> None:
    with suppress(MissingError), _opened(staging, token) as (parts, directory):
        _empty(directory, names)
        # What is left in it is nothing that a run wrote, and stays.
        with suppress(ShardctlError):
            parts.remove_subdirectory(token)


@contextmanager
def _opened(staging: Staging, token: str) -> Iterator[tuple[Directory, Directory]]:
    with ExitStack() as opened:
        parts = staging.own.subdirectory(PARTS)
        if parts is None:
            raise _gone(staging)
        directory = opened.enter_context(parts).subdirectory(token)
        if directory is None:
            raise _gone(staging)
        yield parts, opened.enter_context(directory)


def _gone(staging: Staging) -> MissingError:
    return MissingError(
        f"'{staging.path(PARTS)}' is gone", hint="run the command again", file=staging.own.path
    )


def _empty(directory: Directory, names: Collection[str], keep: Collection[str] = ()) -> None:
    known = {*names, *_OWN} - {*keep}
    for name in directory.names():
        if name in known:
            directory.remove(name)
