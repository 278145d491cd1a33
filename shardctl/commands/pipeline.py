"""Sum up what SOURCE holds: one checkpoint, or every component of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardctl.commands.inspect import Inspection, inspect
from shardctl.errors import InputError, MissingError
from shardctl.findings import as_finding, in_one_line
from shardctl.source.opened import Opened, unseen
from shardctl.source.pipeline.components import Pipeline, about, find_pipeline
from shardctl.source.pipeline.model_index import pipeline_findings
from shardctl.stores.base import Store


@dataclass(frozen=True, slots=True)
class Inspected:
    """What SOURCE holds. `parts` are the components of `pipeline` by their names.

    Without a pipeline there is one part, whose name is "". `findings` are about the pipeline as a
    whole, `unread` says which of its components cannot be read and why.
    """

    source: str
    parts: tuple[tuple[str, Inspection], ...]
    pipeline: Pipeline | None = None
    findings: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is said of the whole, then of each part."""
        first = () if self.pipeline is None or self.pipeline.note is None else (self.pipeline.note,)
        notes = [(name, note) for name, found in self.parts for note in found.notes]
        return (*first, *self.findings, *(about(name, note) for name, note in notes))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the parts is missing or damaged."""
        read = [(name, warning) for name, found in self.parts for warning in found.warnings]
        return (*self.unread, *(about(name, warning) for name, warning in read))

    @property
    def total_size(self) -> int:
        """Bytes of all tensors, tied ones counted once."""
        return sum(found.total_size for _, found in self.parts)

    @property
    def total_parameters(self) -> int:
        """Elements of all tensors, tied ones counted once."""
        return sum(found.total_parameters for _, found in self.parts)


def inspect_all(
    store: Store,
    source: str,
    *,
    key: str | None,
    globs: Sequence[str] = (),
    variant: str | None = None,
    opened: Opened = unseen,
) -> Inspected:
    """Return what a checkpoint holds as `inspect` does, or what each component of a pipeline does.

    A component that cannot be read is left out with a warning, and with `globs` one in which one of
    them matches nothing. Raises as `inspect` does, InputError only where no component is left.
    """
    pipeline = find_pipeline(store, source)
    if pipeline is None:
        whole = inspect(store, source, key=key, globs=globs, variant=variant, opened=opened)
        return Inspected(source, (("", whole),))
    pipeline.check_variant(variant)
    parts, unread = list[tuple[str, Inspection]](), list[str]()
    errors = list[InputError]()
    for component in pipeline.components:
        path = pipeline.path_of(store, component.name)
        wanted = component.variant_to_read(variant)
        try:
            found = inspect(store, path, key=key, globs=globs, variant=wanted, opened=opened)
        except InputError as error:
            errors.append(error)
            if not (globs and isinstance(error, MissingError)):
                unread.append(about(component.name, in_one_line(as_finding(error))))
        else:
            parts.append((component.name, found))
    if not parts:
        raise errors[0]
    findings = tuple(map(in_one_line, pipeline_findings(store, pipeline)))
    return Inspected(source, tuple(parts), pipeline, findings, tuple(unread))
