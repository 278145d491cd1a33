"""What a user types becomes the settings that the library takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import typer
from typer.main import get_command

from shardctl.cli.options.arguments import WriterArguments, command
from shardctl.cli.options.everywhere import Command
from shardctl.cli.options.writers import MergeTarget
from shardctl.errors import UsageError
from shardctl.planning.request import Conversion, Experts, Limits, Selection, WriteOptions

SIZE = {"max_shard_size": "5GB"}


def typed(
    *words: str,
    env: Mapping[str, str] | None = None,
    size: Mapping[str, object] = SIZE,
    without: tuple[str, ...] = (),
) -> WriterArguments:
    """What a command `split` gets of what was typed after SOURCE and TARGET."""
    seen: list[tuple[str, WriterArguments]] = []

    def run(name: str, arguments: WriterArguments) -> None:
        seen.append((name, arguments))

    single = typer.Typer(add_completion=False)
    made = command("split", run, without=without, size=size, annotations={})
    single.command("split", cls=Command, add_help_option=False)(made)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (env or {}).items():
            patch.setenv(f"SHARDCTL_SPLIT_{name}", value)
        get_command(single)(
            ["a", "b", *words], standalone_mode=False, auto_envvar_prefix="SHARDCTL_SPLIT"
        )
    ((name, arguments),) = seen
    assert name == "split"
    return arguments


def options(*words: str, **how: Any) -> WriteOptions:
    """The settings for that."""
    return typed(*words, **how).write_options()


def test_nothing_typed_is_the_default() -> None:
    """Source and target alone give what the library does by itself, but for the size."""
    arguments = typed()
    assert (arguments.source, arguments.target) == (["a"], "b")
    assert arguments.record
    assert not arguments.restart
    assert arguments.write_options() == WriteOptions(limits=Limits(max_shard_bytes=5 * 10**9))
    assert options(size={}) == WriteOptions(limits=None)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--order", "natural"], {"order": "natural"}),
        (["--to", "bin"], {"format": "bin"}),
        (["--name", "x", "--variant", "fp16"], {"stem": "x", "variant": "fp16"}),
        (["--key", "a.b", "--drop-non-tensors"], {"key": "a.b", "drop_non_tensors": True}),
        (["--tied", "expand"], {"tied": "expand"}),
        (["--layout", "reflink"], {"layout": "reflink"}),
        (["--layout", "shareable"], {"layout": "reflink"}),
        (["--companions", "all"], {"companions": "all"}),
        (["--companions", "false"], {"companions": "none"}),
        (["--no-companions"], {"companions": "none"}),
        (["--no-companions", "--companions", "all"], {"companions": "none"}),
        (["--replace"], {"replace": "same"}),
        (["--replace-all"], {"replace": "all"}),
        (["--replace", "--replace-all"], {"replace": "all"}),
        (["--replace-companions"], {"replace_companions": True}),
        (["--verify"], {"read_back": True}),
        (["--accept-damage"], {"accept_damage": True}),
        (["--checksums"], {"checksums": True}),
        (["--dtype", "bf16", "--keep-dtype", "x"], {"conversion": Conversion("BF16", ("x",))}),
        (["--experts", "stack"], {"experts": Experts("stack")}),
        (
            ["--include", "a", "--include", "b", "--exclude", "c"],
            {"selection": Selection(include=("a", "b"), exclude=("c",))},
        ),
        (
            ["--strip-prefix", "a.", "--add-prefix", "b.", "--rename", "x=y"],
            {"selection": Selection(strip_prefix="a.", add_prefix="b.", rename=(("x", "y"),))},
        ),
    ],
)
def test_each_option_is_a_setting(words: list[str], expected: Mapping[str, Any]) -> None:
    """And changes no other one."""
    assert options(*words) == replace(options(), **expected)
    assert options(*words) != options()


# how large the shards are


@pytest.mark.parametrize(
    ("words", "limits"),
    [
        (["--max-shard-size", "1KB"], Limits(max_shard_bytes=1000)),
        (["--max-shard-size", "1KB", "--strict-size"], Limits(max_shard_bytes=1000, strict=True)),
        (["--num-shards", "3"], Limits(num_shards=3)),
        (["--single"], Limits()),
    ],
)
def test_a_size_that_is_typed_replaces_the_usual_one(words: list[str], limits: Limits) -> None:
    """None of the group is asked for twice."""
    assert options(*words).limits == limits


def test_two_sizes_cannot_be_typed() -> None:
    """They are a usage error, whichever they are."""
    for words in (["--num-shards", "2", "--single"], ["--max-shard-size", "1KB", "--single"]):
        with pytest.raises(UsageError):
            options(*words)


def test_what_is_typed_overrides_a_variable_of_the_group() -> None:
    """A variable for every command does not contradict this command; other variables stay."""
    env = {"NUM_SHARDS": "3", "ORDER": "natural"}
    assert options(env=env).limits == Limits(num_shards=3)
    found = options("--max-shard-size", "1KB", env=env)
    assert (found.limits, found.order) == (Limits(max_shard_bytes=1000), "natural")
    assert options("--num-shards", "2", env={"NUM_SHARDS": "3"}).limits == Limits(num_shards=2)


def test_two_variables_of_the_group_contradict_each_other() -> None:
    """Neither was typed, so that neither is left out."""
    with pytest.raises(UsageError):
        options(env={"NUM_SHARDS": "3", "MAX_SHARD_SIZE": "1KB"})


def test_groups_need_no_size() -> None:
    """Each group is a file, unless a size is typed as well."""
    grouped = options("--group-by", "layer")
    assert grouped.group_by == "layer"
    assert grouped.limits != options().limits
    assert options("--group-by", "layer", "--num-shards", "2").limits == Limits(num_shards=2)


@pytest.mark.parametrize(
    ("words", "env", "place"),
    [
        (["--max-shard-size", "5 gigabits"], {}, "--max-shard-size: "),
        ([], {"MAX_SHARD_SIZE": "0"}, "SHARDCTL_SPLIT_MAX_SHARD_SIZE: "),
    ],
)
def test_what_is_not_a_size_names_where_it_came_from(
    words: list[str], env: dict[str, str], place: str
) -> None:
    """The option or the variable, with the forms that are accepted."""
    with pytest.raises(UsageError) as caught:
        typed(*words, env=env)
    assert caught.value.message.startswith(place)
    assert "write a number and a unit" in caught.value.hint
    assert ("unset" in caught.value.hint) is bool(env)


# commands


def test_a_command_offers_what_suits_it() -> None:
    """What it is without cannot be typed, and keeps its default."""
    assert not typed(without=("single",)).single
    with pytest.raises(typer.TyperException):
        typed("--single", without=("single",))


def test_annotations_can_be_replaced() -> None:
    """The same parameter has another help in another command."""

    def run(_: str, __: WriterArguments) -> None:
        """Do nothing."""

    made = command("merge", run, without=(), size={}, annotations={"target": MergeTarget})
    plain = command("split", run, without=(), size={}, annotations={})
    assert made.__name__ == "merge"
    assert made.__annotations__["target"] is MergeTarget
    assert plain.__annotations__["target"] is not MergeTarget
