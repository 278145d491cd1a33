"""What a writing command was asked for, and the complete request that follows from it, the source and the target."""

from __future__ import annotations

from dataclasses import dataclass

from shardctl.discover import Located
from shardctl.errors import UsageError
from shardctl.formats import WRITERS
from shardctl.model import Checkpoint
from shardctl.naming import check_shard_name, default_stem, escape
from shardctl.packing import Limits
from shardctl.plan import Measure, Order, Request
from shardctl.target import LayoutChoice, Replace, Target
from shardctl.ties import Tied


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What a writing command was asked for. `limits` None keeps the source's number of shards."""

    limits: Limits | None
    container: str | None = None
    order: Order = "source"
    stem: str | None = None
    variant: str | None = None
    key: str | None = None
    drop_non_tensors: bool = False
    tied: Tied = "share"
    layout: LayoutChoice = "auto"
    companions: bool = True
    replace: Replace = "nothing"
    read_back: bool = False
    checksums: bool = False


def complete(options: WriteOptions, place: Target, located: Located, checkpoint: Checkpoint) -> Request:
    """The request with every default filled in; what the target and the source say counts where nothing was asked for.

    Raises UsageError for options that contradict the target, or that no file can be named by.
    """
    named, suffix = options.container, place.container
    if named is not None and suffix is not None and named != suffix:
        raise UsageError(
            f"--to {named} contradicts the target's suffix", hint="leave out --to, or give the target the other suffix"
        )
    container = named or suffix or checkpoint.container
    writer = WRITERS[container]()
    limits = options.limits if options.limits is not None else Limits(num_shards=len(checkpoint.files), or_fewer=True)
    _check_name_part("--name", options.stem)
    _check_name_part("--variant", options.variant)
    variant = located.variant if options.variant is None else options.variant
    return Request(
        limits=limits,
        container=container,
        suffix=writer.suffix,
        stem=options.stem or default_stem(container, located.stem),
        variant=variant or None,
        filename=place.filename,
        order=options.order,
        tied=options.tied,
    )


def _check_name_part(option: str, text: str | None) -> None:
    """Raise UsageError for what cannot be a part of a file's name."""
    reason = "it has a slash" if "/" in (text or "") else check_shard_name(text) if text else None
    if reason is not None:
        raise UsageError(
            f"{option} '{escape(text or '')}' cannot be part of a file's name: {reason}",
            hint="give a plain name; TARGET says which folder the files go to",
        )


def measure_of(request: Request) -> Measure:
    """The exact size of a file in the container that is asked for."""
    container = WRITERS[request.container]()
    return lambda tensors, metadata: container.measure(tensors, metadata, request.block)
