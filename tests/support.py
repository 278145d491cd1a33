"""Small stand-ins that many tests share."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from shardctl.errors import SourceChangedError
from shardctl.model import Version


class BytesReader:
    """A reader of bytes in memory. It remembers each range that was asked for: (offset, length) in bytes."""

    def __init__(self, path: str, data: bytes) -> None:
        self._path = path
        self._data = data
        self.ranges: list[tuple[int, int]] = []

    @property
    def path(self) -> str:
        return self._path

    @property
    def version(self) -> Version:
        return Version(len(self._data), "memory")

    def read(self, offset: int, length: int) -> bytes:
        self.ranges.append((offset, length))
        data = self._data[offset : offset + length]
        if len(data) != length:
            raise SourceChangedError(
                f"the file ends before byte {offset + length}", hint="run again", file=self._path, offset=offset
            )
        return data

    def current(self) -> Version:
        return self.version

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
