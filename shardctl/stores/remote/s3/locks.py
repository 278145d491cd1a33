"""A lock that is an object: who creates it holds it, and its host and process are noted in it.

It takes a server that creates an object only where there is none (`If-None-Match: *`), as Amazon S3
does. The object of a process of this machine that has ended is replaced, in the version that was
read; of one on another machine nothing can be known, so that its lock has to be removed by hand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shardctl.errors import MissingError
from shardctl.model import Version
from shardctl.stores.base import Reader
from shardctl.stores.locking import MAX_NOTE, has_ended, locked, note_of_this_process
from shardctl.stores.remote.s3.service import UnmetError
from shardctl.stores.remote.s3.uploads import S3Uploads

_TRIES = 5


@contextmanager
def held(uploads: S3Uploads, path: str, look: Callable[[], Reader]) -> Iterator[None]:
    """Hold the lock at `path`; `look` opens what is there now.

    Raises LockedError that names the holder.
    """
    version = _taken(uploads, path, look)
    try:
        yield
    finally:
        uploads.remove_version(path, version)


def _taken(uploads: S3Uploads, path: str, look: Callable[[], Reader]) -> Version:
    # The number makes it another object than that of any other run, whatever is noted.
    own = json.dumps({**note_of_this_process(), "run": os.urandom(8).hex()}).encode()
    who: dict[str, Any] = {}
    replaces: Version | None = None
    for _ in range(_TRIES):
        try:
            version = uploads.put(path, own, replaces)
        except UnmetError:
            try:
                with look() as reader:
                    data = reader.read(0, min(reader.version.size, MAX_NOTE))
                    replaces = reader.version
            except MissingError:  # it was released since
                replaces = None
                continue
            who = _note(data)
            if not has_ended(who):
                break
        else:
            # A server that does not know the condition has let both write.
            with look() as reader:
                if reader.version == version:
                    return version
            break
    raise locked(path, who, by_file=True)


def _note(data: bytes) -> dict[str, Any]:
    try:
        who = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return who if isinstance(who, dict) else {}
