"""Verify a pipeline: every component that holds weights, and what `model_index.json` names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from shardctl.errors import UsageError
from shardctl.findings import Finding
from shardctl.planning.request import UNCHANGED
from shardctl.source.pipeline.components import Component, Pipeline, find_pipeline
from shardctl.source.pipeline.model_index import pipeline_findings
from shardctl.stores.base import Store
from shardctl.text import escape
from shardctl.verify.coverage import Coverage, Unchecked
from shardctl.verify.run import RANK, Thoroughness, Verdict
from shardctl.verify.subject import half_replaced


@dataclass(frozen=True, slots=True)
class Asked:
    """A checkpoint to verify, and how far. `name` is that of a component, "" for all of SOURCE."""

    name: str
    source: str
    how: Thoroughness


@dataclass(frozen=True, slots=True)
class Asking:
    """The checkpoints to verify, and the findings about a pipeline as a whole."""

    parts: tuple[Asked, ...]
    findings: tuple[Finding, ...] = ()
    pipeline: Pipeline | None = None

    def verdict(self, found: Sequence[Verdict]) -> Verdict:
        """Return the verdict on all of it; `found` are those on the parts, in order."""
        if self.pipeline is None:
            return found[0]
        # What is wrong with a file of the pipeline may come up with each of its components.
        every = dict.fromkeys(
            (*self.findings, *(each for verdict in found for each in verdict.findings))
        )
        findings = sorted(every, key=lambda finding: RANK[finding.severity])
        failing = found[0].failing
        names = [part.name for part in self.parts]
        return Verdict(
            findings=tuple(findings),
            ok={finding.severity for finding in findings}.isdisjoint(failing),
            depth=found[0].depth,
            files=sum(verdict.files for verdict in found),
            tensors=sum(verdict.tensors for verdict in found),
            bytes=sum(verdict.bytes for verdict in found),
            coverage=_coverage(zip(names, found, strict=True)),
            failing=failing,
            components=tuple(zip(names, found, strict=True)),
        )


def _coverage(found: Iterable[tuple[str, Verdict]]) -> Coverage:
    """Return what was checked, with the components for which it holds, where they differ."""
    by_words: dict[str, list[str]] = {}
    unchecked = list[Unchecked]()
    for name, verdict in found:
        by_words.setdefault(verdict.coverage.checked, []).append(escape(name))
        unchecked.extend(
            replace(each, what=f"{each.what} of {escape(name)}")
            for each in verdict.coverage.unchecked
        )
    lines = (
        f"{', '.join(names)}: {'each ' if len(names) > 1 else ''}{words}"
        for words, names in by_words.items()
    )
    return Coverage("; ".join(lines), tuple(unchecked))


def asking(store: Store, source: str, how: Thoroughness, other: Store | None = None) -> Asking:
    """Return what to verify: SOURCE, or each component of the pipeline that it is.

    A pipeline is compared with another one, component by component. Raises UsageError where the
    other is none, and MissingError where no component has the variant that is asked for.
    """
    pipeline = find_pipeline(store, source)
    if pipeline is None:
        return Asking((Asked("", source, how),))
    pipeline.check_variant(how.variant)
    opposite = None if how.against is None else _opposite(other or store, how.against)
    interrupted = half_replaced(store, pipeline.directory)
    findings = [*([interrupted] if interrupted else ()), *pipeline_findings(store, pipeline)]
    if opposite is not None:
        findings.extend(_differences(store, pipeline, opposite))
    parts = tuple(
        Asked(
            component.name,
            pipeline.path_of(store, component.name),
            _how(how, component, opposite, other or store),
        )
        for component in pipeline.components
    )
    return Asking(parts, tuple(findings), pipeline)


def _opposite(store: Store, against: str) -> Pipeline:
    found = find_pipeline(store, against)
    if found is None:
        raise UsageError(
            f"'{escape(against)}' is not a pipeline, and the source is one",
            hint="compare with another pipeline, or name one component of the source",
            file=against,
        )
    return found


def _how(
    how: Thoroughness, component: Component, opposite: Pipeline | None, other: Store
) -> Thoroughness:
    variant = component.variant_to_read(how.variant)
    there = None
    if opposite is not None and component.name in _names(opposite):
        there = opposite.path_of(other, component.name)
    transform = UNCHANGED if there is None else how.transform
    return replace(how, variant=variant, against=there, transform=transform)


def _names(pipeline: Pipeline) -> set[str]:
    return {component.name for component in pipeline.components}


def _differences(store: Store, pipeline: Pipeline, opposite: Pipeline) -> Iterator[Finding]:
    """Yield an error for each component that only one of two pipelines has."""
    hint = "fetch or write the pipeline again, or compare the components one by one"
    here, there = _names(pipeline), _names(opposite)
    for name in sorted(here - there):
        message = f"the component '{escape(name)}' is missing in '{escape(opposite.directory)}'"
        path = pipeline.path_of(store, name)
        yield Finding("against-extra", "error", message, hint, path)
    for name in sorted(there - here):
        message = f"the component '{escape(name)}' is only in '{escape(opposite.directory)}'"
        yield Finding("against-missing", "error", message, hint, pipeline.directory)
