"""The package for programs: its names, settings and types."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from shardctl.planning.keywords import WriteKeywords, options_from
from shardctl.planning.request import Selection, WriteOptions
from tests.support.safetensors_files import write_safetensors
from tests.support.typed import said_of


def test_every_option_has_a_keyword() -> None:
    """What a command can be asked for, a program can ask for."""
    limits = {"max_shard_size", "num_shards", "single", "strict_size"}
    parts = {field.name for field in fields(Selection)} | {"dtype", "keep_dtype"}
    options = {field.name for field in fields(WriteOptions)}
    keywords = set(get_type_hints(WriteKeywords))
    assert keywords >= limits | parts | {"name"}
    # Only a plan file says the block of a reflink layout: no user chooses it.
    whole = {"limits", "stem", "selection", "conversion", "block"}
    assert keywords - limits - parts - {"name"} == options - whole
    assert options_from({}) == WriteOptions(limits=None)


def test_a_function_keeps_its_name(tmp_path: Path) -> None:
    """`shardctl.verify` is the function, also after modules of the subpackage were imported."""
    import shardctl.verify.run

    assert callable(shardctl.verify)
    assert shardctl.verify(write_safetensors(tmp_path / "m.safetensors", {"a": b"1"})).ok
    with pytest.raises(AttributeError, match="no attribute 'unknown'"):
        shardctl.unknown  # type: ignore[attr-defined] # noqa: B018 - which is what is tested
    assert set(shardctl.__all__) <= set(dir(shardctl))


PROGRAM = """
from pathlib import Path

import shardctl


class Bar(shardctl.Silent):
    def advance(self, filename: str, nbytes: int) -> None:
        print(filename, nbytes)


def split(source: Path) -> str:
    written = shardctl.write(source, "target", max_shard_size="2GB", tied="share", observer=Bar())
    reveal_type(written)
    reveal_type(shardctl.verify(source).ok)
    return written.path


shardctl.write("a", "b", tied="wrong")
"""


REFUSED = (
    """error: Argument "tied" to "write" has incompatible type "Literal['wrong']"; """
    """expected "Literal['share', 'expand']\""""
)


def test_programs_are_typed(tmp_path: Path) -> None:
    """The type checker knows the functions, their settings and their results."""
    assert said_of(PROGRAM, tmp_path, "--strict", "--config-file=") == [
        'note: Revealed type is "shardctl.api.writing.Written"',
        'note: Revealed type is "bool"',
        REFUSED,
    ]
