"""Values of the writers' options that have a parser."""

from __future__ import annotations

from dataclasses import replace

import pytest
import typer

from shardctl.cli.options.arguments import WriterArguments
from shardctl.cli.options.everywhere import made
from shardctl.cli.options.writers import DEFAULT_SHARD_SIZE, FormatName
from shardctl.cli.spec import describe
from shardctl.formats.registry import register, unregister, writable
from shardctl.formats.torch.format import TORCH
from shardctl.sizes import parse_size


def test_formats_are_those_that_can_be_written() -> None:
    """Also one that a program has added, from then on; any other is refused with the choices."""
    formats = FormatName()
    assert formats.choices == tuple(each.name for each in writable())
    assert formats("bin") == "bin"
    for text in ("toy", "BIN", "", "bin "):
        with pytest.raises(typer.BadParameter, match="'safetensors', 'bin'"):
            formats(text)
    register(replace(TORCH, name="toy", suffix=".toy", suffixes=(".toy",)))
    try:
        assert formats("toy") == "toy"
    finally:
        unregister("toy")


def test_the_usual_size_is_one() -> None:
    """The help names it, and it can be parsed."""
    assert parse_size(DEFAULT_SHARD_SIZE) == 5 * 10**9
    (size,) = (each for each in describe(made("split")).options if "--max-shard-size" in each.flags)
    assert size.default == DEFAULT_SHARD_SIZE
    (size,) = (
        each for each in describe(made("reshard")).options if "--max-shard-size" in each.flags
    )
    assert size.default != DEFAULT_SHARD_SIZE


@pytest.mark.parametrize(
    "name", ["replace", "replace_all", "replace_companions", "restart", "accept_damage"]
)
def test_what_cannot_be_undone_is_typed_each_time(name: str) -> None:
    """No variable removes, overwrites or accepts what this user did not mean."""
    assert name in WriterArguments.__dataclass_fields__
    flag = f"--{name.replace('_', '-')}"
    for command in ("split", "merge", "reshard"):
        (option,) = (each for each in describe(made(command)).options if flag in each.flags)
        assert option.variable is None, command


@pytest.mark.parametrize("command", ["split", "merge", "reshard"])
def test_defaults_are_those_of_the_arguments(command: str) -> None:
    """What the help says is what happens where nothing is typed."""
    by_flag = {max(each.flags, key=len)[2:]: each for each in describe(made(command)).options}
    assert by_flag["order"].default == "source"
    assert by_flag["tied"].default == "share"
    assert by_flag["companions"].default == "auto"
    assert by_flag["layout"].default == "auto"
    assert "shareable" not in by_flag["layout"].choices
