"""The formats that are known: one line each, and how they are looked up.

Nothing that reads or writes a file is imported here, so that help and short runs start soon.
"""

from __future__ import annotations

from functools import cache

from shardctl.errors import UsageError
from shardctl.formats.base import Format, FormatWriter
from shardctl.formats.dcp.format import DCP
from shardctl.formats.safetensors.format import SAFETENSORS
from shardctl.formats.torch.format import TORCH

#: The formats of shardctl, in the order in which their readers are tried on a file.
BUILT_IN = (
    SAFETENSORS,
    TORCH,
    DCP,
)

#: The format to write where neither a source nor the user names one.
DEFAULT = SAFETENSORS
#: A format that keeps all that a state dict in memory has: tied tensors and views.
LIKE_MEMORY = TORCH

_formats: list[Format] = list(BUILT_IN)


def register(added: Format) -> None:
    """Add a format for the rest of this process; its readers are tried after the others.

    Raises ValueError for a name or suffix that is taken, and for traits that cannot be.
    """
    from shardctl.naming import KNOWN_STEMS  # noqa: PLC0415 - its patterns take time to compile

    if any(known.name == added.name for known in _formats):
        raise ValueError(f"the format '{added.name}' exists already")
    if added.suffix not in added.suffixes:
        raise ValueError(f"the suffix {added.suffix} is not among {added.suffixes}")
    for suffix in added.suffixes:
        if not suffix.startswith(".") or promised_by(suffix) is not None:
            raise ValueError(f"the suffix {suffix} has no dot, or belongs to another format")
    if added.default_stem not in KNOWN_STEMS:
        raise ValueError(f"no loader looks for the stem '{added.default_stem}'")
    _formats.append(added)
    all_suffixes.cache_clear()


def unregister(name: str) -> None:
    """Take back what `register` added. Raises UsageError for a format that is not known."""
    _formats.remove(by_name(name))
    all_suffixes.cache_clear()


def formats() -> tuple[Format, ...]:
    """Return every format, in the order in which their readers are tried on a file."""
    return tuple(_formats)


def writable() -> tuple[Format, ...]:
    """Return the formats that can be written."""
    return tuple(known for known in _formats if known.load_writer is not None)


def standalone() -> tuple[Format, ...]:
    """Return the formats that can be written and of which one file can be a checkpoint."""
    return tuple(known for known in writable() if not known.is_in_pieces)


def by_name(name: str) -> Format:
    """Return the format of that name. Raises UsageError for a name that no format has."""
    for known in _formats:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in _formats)
    raise UsageError(f"unknown format '{name}'", hint=f"choose one of: {names}")


def writer_of(name: str) -> FormatWriter:
    """Return the writer of a format by its name. Raises UsageError for one that is only read."""
    load = by_name(name).load_writer
    if load is None:
        names = ", ".join(known.name for known in writable())
        message = f"files of the format '{name}' are only read"
        raise UsageError(message, hint=f"choose one that can be written: {names}")
    return load()


def promised_by(name: str) -> Format | None:
    """Return the format that the suffix of a file name promises; None where it promises none."""
    return next((known for known in _formats if name.endswith(known.suffixes)), None)


def written_as(name: str) -> Format | None:
    """Return the format in which a file of that name is a checkpoint; None for any other suffix."""
    return next((known for known in standalone() if name.endswith(known.suffixes)), None)


@cache
def all_suffixes() -> tuple[str, ...]:
    """Return the suffixes of the weights files of all formats."""
    return tuple(suffix for known in _formats for suffix in known.suffixes)


def reserved_metadata() -> frozenset[str]:
    """Return the keys of metadata that formats need for themselves: they never name a tensor."""
    return frozenset(key for known in _formats for key in known.metadata or ())
