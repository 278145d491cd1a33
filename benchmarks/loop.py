"""Copy the files of a directory as quickly as the kernel does, and make them durable.

    python -m benchmarks.loop SOURCE TARGET

This is the limit of a tool that copies: `copy_file_range` from aligned offsets to the same ones,
the writing of each piece begun at once, and one sync of each file. Nothing is planned or checked.
"""

from __future__ import annotations

import ctypes
import os
import sys

#: Bytes that are copied at a time.
PIECE_BYTES = 16 * 2**20
#: sync_file_range(2): begin to write what is not yet being written, and do not wait.
_WRITE = 2


def copy_file(source: str, target: str) -> None:
    """Copy one file."""
    begin_writing = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
    with open(source, "rb") as read, open(target, "wb") as written:
        offset, left = 0, os.fstat(read.fileno()).st_size
        while left:
            done = os.copy_file_range(read.fileno(), written.fileno(), min(left, PIECE_BYTES))
            if begin_writing is not None:
                begin_writing(
                    written.fileno(), ctypes.c_int64(offset), ctypes.c_int64(done), _WRITE
                )
            offset, left = offset + done, left - done
        os.fsync(written.fileno())


def main(source: str, target: str) -> None:
    """Copy the files of a directory into another, which is there, and make its entries durable."""
    for name in sorted(os.listdir(source)):
        copy_file(os.path.join(source, name), os.path.join(target, name))
    number = os.open(target, os.O_RDONLY)
    os.fsync(number)


if __name__ == "__main__":
    main(*sys.argv[1:])
