"""Recognise by its first bytes a file that is not what its name promises, for the error message.

Most damaged downloads are one of a few things: nothing, zeros, a pointer of Git LFS, the page of a
website, the answer of a server. The kinds of other programs' files are in `foreign`.
"""

from __future__ import annotations

import re

from shardctl.findings import Finding
from shardctl.formats.foreign import Kind, foreign_kind
from shardctl.sizes import format_size
from shardctl.text import escape

#: How many of a file's first bytes are looked at.
SNIFFED_BYTES = 1024

_LFS = b"version https://git-lfs.github.com/spec"
_LFS_SIZE = re.compile(rb"\nsize ([0-9]{1,19})\n")
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|\?xml|!--)", re.IGNORECASE)
_FETCH_AGAIN = "fetch it again"
_XML = re.compile(rb"<[A-Za-z][A-Za-z0-9:]*[ />]")
#: Members of a JSON object by which it is a server's answer.
_ANSWERS = re.compile(rb'\{\s*"(?:error|errors|message|detail|code|status)"\s*:')
_LOCKED_OUT = re.compile(
    r"authenti|authori[sz]|log ?in|password|token|restricted|gated|forbidden|denied|permission"
    r"|\b40[13]\b",
    re.IGNORECASE,
)
_NOT_FOUND = re.compile(r"not found|does not exist|no such|\b404\b", re.IGNORECASE)
_MOST_QUOTED = 100
# One and several of what is found instead of weights, by the finding's code.
_BROKEN = {
    "file-empty": ("an empty file", "empty files"),
    "file-zero-filled": ("a file of zeros", "files of zeros"),
    "file-html-page": ("a web page", "web pages"),
    "file-lfs-pointer": ("a Git LFS pointer", "Git LFS pointers"),
}
#: What nothing is known about.
UNKNOWN = Kind(
    "a file of an unknown kind",
    "files of an unknown kind",
    "name a weights file, or fetch the model again",
)


def impostor(head: bytes, path: str, size: int) -> Finding | None:
    """Return what the file is instead of the real one; None where it may be the real one.

    `head` are its first bytes, `size` is the size of the file in bytes.
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
        hint = (
            "it is the error page of a website: log in or accept the terms there, then fetch it "
            "again"
        )
        return _finding("file-html-page", message, hint, path)
    return None


def broken(head: bytes, path: str, size: int) -> Kind | None:
    """Return what is there instead of the real file as a kind of file, or None."""
    finding = impostor(head, path, size)
    if finding is not None:
        return Kind(*_BROKEN[finding.code], finding.hint)
    said = answer(head, size)
    return None if said is None else Kind("the answer of a server", "answers of servers", said[1])


def unknown(head: bytes, path: str, size: int, kind: Kind | None = None) -> Finding:
    """Return the finding for a file that no format claims, with the best guess at what it is.

    `kind` is what is known from more than the first bytes.
    """
    wrong = impostor(head, path, size)
    if wrong is not None:
        return wrong
    kind = kind or foreign_kind(head, b"")
    message, hint = _guess(head, size) if kind is None else (called(kind), kind.hint)
    return _finding("header-invalid", message, hint, path)


def called(kind: Kind) -> str:
    """Return the message for a file of a kind that is not read."""
    return f"the file is neither safetensors nor a torch checkpoint: it is {kind.what}"


def answer(head: bytes, size: int) -> tuple[str, str] | None:
    """Return message and hint for the answer of a server instead of a file; None for another text.

    Such an answer is short, and is JSON with an error, XML, or a sentence.
    """
    stripped = head.removeprefix(b"\xef\xbb\xbf").strip()
    structured = _ANSWERS.match(stripped) or _XML.match(stripped)
    if not structured and (size > len(head) or len(stripped.split()) < 2):
        return None
    try:
        text = stripped.decode()
    except UnicodeDecodeError:
        return None
    if not all(character.isprintable() or character.isspace() for character in text):
        return None
    if not structured and text.startswith(("{", "[")):
        return None
    quoted = " ".join(text[: _MOST_QUOTED + 1].split())
    shown = quoted if len(text) <= _MOST_QUOTED else f"{quoted[:_MOST_QUOTED]}…"
    form = {"{": " (JSON)", "<": " (XML)"}.get(text[0], "")
    message = f"the file is the answer of a server{form}, not weights: '{escape(shown)}'"
    return message, _after(text)


def _after(answer: str) -> str:
    """Return what to do after a server's answer."""
    if _LOCKED_OUT.search(answer):
        return "log in (`hf auth login`), accept the model's terms on its page, and fetch it again"
    if _NOT_FOUND.search(answer):
        return "check the file's name and revision at its source, and fetch it again"
    return _FETCH_AGAIN


def _guess(head: bytes, size: int) -> tuple[str, str]:
    """Return a message that says what the file looks like, and a hint."""
    said = answer(head, size)
    if said is not None:
        return said
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
