"""What a file is that is not what its name promises, by its first bytes, so that the error can say it.

Most damaged downloads are one of a few things: nothing, zeros, a pointer of Git LFS, the page of a
website.
"""

from __future__ import annotations

import re

from shardctl.findings import Finding
from shardctl.sizes import format_size

#: How many of a file's first bytes are looked at.
SNIFFED_BYTES = 1024

_LFS = b"version https://git-lfs.github.com/spec"
_LFS_SIZE = re.compile(rb"\nsize ([0-9]{1,19})\n")
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|\?xml|!--)", re.IGNORECASE)
_TAR_MAGIC = slice(257, 262)
_SAVE_AS = "save its weights with safetensors or torch.save first"
_FETCH_AGAIN = "fetch it again"

# Magic numbers, what has them, and what to do about it.
_KNOWN = (
    (b"GGUF", "a GGUF file", f"shardctl reads no GGUF; {_SAVE_AS}"),
    (b"ggml", "an old GGML file", f"shardctl reads no GGML; {_SAVE_AS}"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras)", f"shardctl reads no HDF5; {_SAVE_AS}"),
    (b"\x93NUMPY", "a NumPy array", f"shardctl reads no NumPy files; {_SAVE_AS}"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it first (`gunzip`)"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first (`unzstd`)"),
    (b"\xfd7zXZ\0", "compressed with xz", "unpack it first (`unxz`)"),
    (b"BZh", "compressed with bzip2", "unpack it first (`bunzip2`)"),
    (b"PK", "a zip archive", "unpack it first, or save it again with torch.save"),
    (b"\x7fELF", "a program", "name a weights file"),
    (b"%PDF", "a PDF document", "name a weights file"),
    (b"ARROW1", "an Arrow file", "name a weights file"),
    (b"PAR1", "a Parquet file", "name a weights file"),
    (
        b"\x80",
        "a pickle that torch did not write",
        "load it in the program that wrote it, and save a state dict",
    ),
)


def impostor(head: bytes, path: str, size: int) -> Finding | None:
    """What the file is instead of the real one, where that shows: `head` are its first bytes, `size` their number in all.

    None where the file may well be what it should be.
    """
    if size == 0:
        return _finding(
            "file-empty", "the file is empty", f"the download did not begin; {_FETCH_AGAIN}", path
        )
    if not any(head):
        return _finding(
            "file-zero-filled",
            "the file begins with zeros",
            f"zero-filled download; {_FETCH_AGAIN}",
            path,
        )
    if head.startswith(_LFS):
        return _lfs_pointer(head, path)
    if _HTML.match(head.removeprefix(b"\xef\xbb\xbf").lstrip()):
        message = "the file is a web page, not weights"
        hint = "it is the error page of a website: log in or accept the terms there, then fetch it again"
        return _finding("file-html-page", message, hint, path)
    return None


def unknown(head: bytes, path: str, size: int) -> Finding:
    """The finding for a file that no format claims, with the best guess at what it is."""
    return impostor(head, path, size) or _finding("header-invalid", *_guess(head), path)


def _guess(head: bytes) -> tuple[str, str]:
    """A message that says what the file looks like, and a hint."""
    if head[_TAR_MAGIC] == b"ustar":
        message = "the file is a tar archive, as torch wrote before version 0.1.10"
        return (
            message,
            "convert it with that torch: `torch.save(torch.load(old, weights_only=False), new)`",
        )
    for magic, what, hint in _KNOWN:
        if head.startswith(magic):
            return (
                f"the file is neither safetensors nor a torch checkpoint: it looks like {what}",
                hint,
            )
    if head.lstrip()[:1] in (b"{", b"["):
        return (
            "the file is JSON, not weights",
            "name the weights, or an index that ends in .index.json",
        )
    message = "the file is neither safetensors nor a torch checkpoint"
    return (
        message,
        f"its first bytes are {head[:8].hex(' ')}; name a weights file, or {_FETCH_AGAIN}",
    )


def _lfs_pointer(head: bytes, path: str) -> Finding:
    size = _LFS_SIZE.search(head)
    real = (
        ""
        if size is None
        else f" to a file of {format_size(int(size[1]))} ({int(size[1]):,} bytes)"
    )
    return _finding(
        "file-lfs-pointer",
        f"the file is only a Git LFS pointer{real}",
        "run `git lfs pull` there",
        path,
    )


def _finding(code: str, message: str, hint: str, path: str) -> Finding:
    return Finding(code, "error", message, hint, path, offset=0)
