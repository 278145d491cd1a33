"""One metadata for a set of files: their string pairs, united."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from shardctl.columns import names_of
from shardctl.findings import Finding
from shardctl.formats.strict_json import object_of_texts, texts_of_object
from shardctl.model import Tensor
from shardctl.text import escape


class NamesOf:
    """The names of tensors, made into a set when one is first looked for: few files need it."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._tensors = tensors

    def __contains__(self, name: object) -> bool:
        return name in self._names

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(names_of(self._tensors))


class FilePairs(NamedTuple):
    """The string pairs of one file, and the names of the tensors in it."""

    path: str
    pairs: Mapping[str, str]
    tensors: Container[str]


@dataclass(slots=True)
class United:
    """The metadata of all files.

    `of_tensors` are the keys of `pairs` whose values are JSON objects with a member for each
    tensor of the file, for example torch's `DCP_SHARDING_INFO`: the members' JSON texts by tensor.
    """

    pairs: dict[str, str] = field(default_factory=dict)
    of_tensors: dict[str, dict[str, str]] = field(default_factory=dict)


def unite(files: Sequence[FilePairs], united: United) -> Iterator[Finding]:
    """Fill `united`.

    Of a key with several values the first file's counts, unless the values are of tensors: then
    they are united, or left out where some of them are not.
    """
    keys = dict.fromkeys(key for file in files for key in file.pairs)
    for key in keys:
        having = [file for file in files if key in file.pairs]
        members = [texts_of_object(file.pairs[key], file.tensors) for file in having]
        texts: dict[str, str] = {}
        for some in members:
            for tensor, text in (some or {}).items():
                texts.setdefault(tensor, text)
        if not texts:
            united.pairs[key] = having[0].pairs[key]
            yield from _conflicts(key, having)
        elif None in members:
            odd = having[members.index(None)].path
            message = (
                f"the metadata '{escape(key)}' is one value for each tensor in other files, and "
                "not in this one: it is left out"
            )
            hint = "fetch the set again, or save it again with the program that wrote it"
            yield Finding("metadata-conflict", "note", message, hint, odd)
        else:
            united.of_tensors[key] = texts
            united.pairs[key] = object_of_texts(texts)


def _conflicts(key: str, files: Sequence[FilePairs]) -> Iterator[Finding]:
    for file in files:
        if file.pairs[key] != files[0].pairs[key]:
            message = f"the metadata '{escape(key)}' has another value than in the files before"
            hint = "the first value is kept; make sure that it is the right one"
            yield Finding("metadata-conflict", "note", message, hint, file.path)
