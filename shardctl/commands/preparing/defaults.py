"""Fill in what was not asked for, from the source and the target."""

from __future__ import annotations

from shardctl.commands.target.resolve import Target
from shardctl.errors import UsageError
from shardctl.formats.base import Format
from shardctl.formats.registry import by_name, standalone, writer_of
from shardctl.model import Checkpoint
from shardctl.naming import check_shard_name, default_stem
from shardctl.planning.request import Limits, Measure, Request, WriteOptions
from shardctl.source.locate import Located
from shardctl.text import escape


def complete(
    options: WriteOptions,
    located: Located,
    checkpoint: Checkpoint,
    target: Target,
    block: int | None,
) -> Request:
    """Return the request with every default filled in; `block` is that of a reflink layout.

    Raises UsageError for options that contradict the target, or that cannot be part of a name.
    """
    named, suffix = options.format, target.format
    if named is not None and suffix is not None and named != suffix:
        raise _contradicts(named, target)
    written = by_name(named or suffix or _format_of(checkpoint))
    limits = options.limits
    if limits is None and options.group_by is not None:
        limits = Limits(each_group=True)
    elif limits is None:
        limits = Limits(num_shards=_shards(checkpoint), or_fewer=True)
    elif limits.one_file and options.group_by is not None:
        raise UsageError(
            "`single` and `group_by` cannot be used together: one file has all groups",
            hint="leave out one of them",
        )
    _check_name_part("name", options.stem)
    _check_name_part("variant", options.variant)
    variant = located.variant if options.variant is None else options.variant
    stem = options.stem or default_stem(written.default_stem, located.stem)
    if written.listed_by is not None:
        _check_no_name(written, options, located)
        stem, variant = written.default_stem, None
    return Request(
        limits=limits,
        format=written.name,
        suffix=written.suffix,
        stem=stem,
        variant=variant or None,
        filename=target.filename,
        order=options.order,
        tied=options.tied,
        block=block,
        selection=options.selection,
        experts=options.experts,
        conversion=options.conversion,
        variant_first=bool(variant) and located.variant_first,
        group_by=options.group_by,
    )


def _shards(checkpoint: Checkpoint) -> int:
    """Return how many files of a checkpoint have tensors, as far as their format says."""
    listed = bool(checkpoint.format) and by_name(checkpoint.format).listed_by is not None
    return max(len(checkpoint.files) - listed, 1)


def _format_of(checkpoint: Checkpoint) -> str:
    """Return the format of a checkpoint, unless it cannot be written, or is in pieces.

    What several processes saved is put together: the usual format is meant then.
    """
    read = by_name(checkpoint.format)
    return read.name if read in standalone() else standalone()[0].name


def _check_no_name(written: Format, options: WriteOptions, located: Located) -> None:
    """Raise UsageError for a name that the files of a format cannot have.

    A variant may be that of the source, which it chooses.
    """
    for setting, text in (("name", options.stem), ("variant", options.variant)):
        if text and not (setting == "variant" and text == located.variant):
            raise UsageError(
                f"`{setting}` '{escape(text)}' is of no use: the files of a checkpoint of the "
                f"format '{written.name}' have fixed names",
                hint=f"leave out `{setting}`: the target says which directory the files go to",
            )


def _contradicts(named: str, target: Target) -> UsageError:
    """Return the error for a format that is not that of the target's suffix."""
    if by_name(named).listed_by is None:
        return UsageError(
            f"`format` {named} contradicts the target's suffix",
            hint="leave out `format`, or give the target the other suffix",
        )
    return UsageError(
        f"`format` {named} writes a directory, and '{escape(target.filename or '')}' is the name "
        f"of a {target.format} file",
        hint="name a directory, or leave out `format`",
    )


def _check_name_part(setting: str, text: str | None) -> None:
    """Raise UsageError for what cannot be part of a file's name."""
    if not text:
        return
    reason = "it has a slash" if "/" in text else check_shard_name(text)
    if reason is not None:
        raise UsageError(
            f"`{setting}` '{escape(text)}' cannot be part of a file's name: {reason}",
            hint="give a plain name: the target says which directory the files go to",
        )


def measure_of(request: Request) -> Measure:
    """Return the function that gives the exact size of a file in the format asked for."""
    writer = writer_of(request.format)
    return lambda tensors, metadata: writer.measure(tensors, metadata, request.block)
