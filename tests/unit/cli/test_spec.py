"""The command line as a value: what Typer knows of each command and option."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import pytest
import typer
from typer.core import TyperCommand
from typer.main import get_command

from shardctl.cli.app import app
from shardctl.cli.commands.verbs import VERBS
from shardctl.cli.options.everywhere import made
from shardctl.cli.options.panels import LOOK, OUTPUT, PANELS, SAFETY, SIZE_GROUP
from shardctl.cli.options.shared import decision, option
from shardctl.cli.spec import Argument, Command, Option, describe


class Colour(StrEnum):
    """Some words."""

    red = "red"
    green = "green"


def parsed(text: str) -> str:
    """Take any text."""
    return text


def option_of(kind: Any, declared: Any, default: object) -> Option:
    """The one option of a command `paint`."""

    def paint(value: Any = default) -> None:
        """Paint."""

    paint.__annotations__ = {"value": Annotated[kind, declared], "return": None}
    (found,) = describe(command_of(paint)).options
    return found


def command_of(function: Any, **settings: Any) -> TyperCommand:
    """A function as a command."""
    single = typer.Typer(add_completion=False)
    single.command(add_help_option=False, **settings)(function)
    command = get_command(single)
    assert isinstance(command, TyperCommand)
    return command


# options


def test_a_switch_takes_no_value() -> None:
    """It has its spellings, the short one first, and no default where it is off."""
    found = option_of(bool, option(SAFETY, "--wet", "-w", text="Wet paint"), default=False)
    assert (found.flags, found.negative, found.spelling) == (("-w", "--wet"), (), "-w, --wet")
    assert (found.value, found.choices, found.default) == (None, (), None)
    assert (found.text, found.details, found.panel) == ("Wet paint", "", SAFETY)


def test_a_switch_that_is_on_can_be_turned_off() -> None:
    """What turns it on is its default, and comes before what turns it off."""
    found = option_of(bool, option(OUTPUT, "--wet/--dry", text="Wet"), default=True)
    assert (found.flags, found.negative) == (("--wet",), ("--dry",))
    assert found.spellings == ("--wet", "--dry")
    assert found.default == "--wet"
    assert option_of(bool, option(OUTPUT, "--wet/--dry", text="Wet"), default=False).default is None


def test_a_value_is_what_the_user_types() -> None:
    """The metavar, or the choices; a default as it would be typed."""
    size = option_of(
        str | None, option(OUTPUT, "--size", metavar="SIZE", text="Size"), default=None
    )
    assert (size.value, size.default, size.spelling) == ("SIZE", None, "--size SIZE")
    colour = option_of(Colour, option(OUTPUT, "--colour", text="Colour"), default=Colour.red)
    assert (colour.value, colour.choices, colour.default) == (
        "red|green", ("red", "green"), "red",
    )  # fmt: skip
    said = option(OUTPUT, "--n", metavar="N", show_default="as many as fit", text="Number")
    assert option_of(int | None, said, default=None).default == "as many as fit"


def test_a_parser_can_list_its_choices() -> None:
    """As that of formats does, which asks the registry."""

    class Parser:
        __name__ = "colour"
        choices = ("blue",)

        def __call__(self, text: str) -> str:
            return text

    listed = option(OUTPUT, "--colour", parser=Parser(), text="Colour")
    assert option_of(str | None, listed, default=None).choices == ("blue",)
    free = option(OUTPUT, "--colour", metavar="C", parser=parsed, text="Colour")
    assert option_of(str | None, free, default=None).choices == ()


def test_details_are_apart_from_the_line_of_help() -> None:
    """They may be many sentences."""
    found = option_of(bool, option(OUTPUT, "--wet", text="Wet", details="One. Two."), default=False)
    assert (found.text, found.details) == ("Wet", "One. Two.")


def test_variables_are_named_after_command_and_option() -> None:
    """Unless one is given by name; what is decided each time has none."""
    usual = option_of(bool, option(OUTPUT, "--wet", text="Wet"), default=False)
    assert usual.variable == "SHARDCTL_PAINT_VALUE"
    named = option(OUTPUT, "--wet", envvar="WET", text="Wet")
    assert option_of(bool, named, default=False).variable == "WET"
    assert option_of(bool, decision(OUTPUT, "--wet", text="Wet"), default=False).variable is None


def test_without_a_heading_an_option_is_under_the_last() -> None:
    """No option is left out of the help."""
    assert option_of(bool, typer.Option("--wet", help="Wet"), default=False).panel == PANELS[-1]


# arguments and commands


def test_arguments_and_texts() -> None:
    """The first paragraph is the summary, and each that begins so is an example."""

    def paint(
        wall: Annotated[str, typer.Argument(metavar="WALL", help="A wall")],
        more: Annotated[list[str], typer.Argument(metavar="MORE", help="More walls")],
    ) -> None:
        """Paint a wall
        in one colour.

        Not shown.

        Example: paint wall

        Example: paint wall door
        """

    found = describe(command_of(paint))
    assert (found.name, found.path) == ("paint", "shardctl paint")
    assert found.summary == "Paint a wall in one colour."
    assert found.examples == ("paint wall", "paint wall door")
    assert found.arguments == (
        Argument("WALL", "A wall"),
        Argument("MORE", "More walls", many=True),
    )
    assert [each.spelling for each in found.arguments] == ["WALL", "MORE..."]
    assert found.synopsis() == "WALL MORE... [OPTIONS]"


def test_the_program_is_one_too() -> None:
    """It has no name, and the commands are not its own."""
    found = describe(app)
    assert (found.name, found.path, found.arguments) == ("", "shardctl", ())
    assert found.synopsis() == "COMMAND [OPTIONS]"
    assert {flag for each in found.options for flag in each.flags} == {
        "--version", "-h", "--help", "--debug",
    }  # fmt: skip


def option_named(name: str, panel: str = OUTPUT, group: str | None = None) -> Option:
    """An option with a value."""
    return Option((name,), (), "N", (), "Text", "", None, None, panel, group or name)


def test_options_that_exclude_each_other() -> None:
    """Those of one group do; one that is alone in its group excludes its own spellings only."""
    one, other = option_named("--one", group="size"), option_named("--other", group="size")
    alone = option_named("--alone")
    found = Command("paint", "", (), (Argument("WALL", ""),), (one, alone, other))
    assert found.exclusive() == (one, other)
    assert found.excluded_by(one) == found.excluded_by(other) == ("--one", "--other")
    assert found.excluded_by(alone) == ("--alone",)
    assert found.synopsis() == "WALL [--one N | --other N] [OPTIONS]"


def test_headings_come_in_their_order() -> None:
    """Without options there is no heading; within one the options stay in theirs."""
    b, a, look = option_named("--b"), option_named("--a"), option_named("--look", LOOK)
    found = Command("paint", "", (), (), (b, look, a))
    assert list(found.panels()) == [(LOOK, (look,)), (OUTPUT, (b, a))]
    assert list(Command("paint", "", (), (), ()).panels()) == []


@pytest.mark.parametrize("name", VERBS)
def test_every_option_of_the_program_is_described(name: str) -> None:
    """It has a text, a heading that there is, and spellings that no other has."""
    found = describe(made(name))
    assert found.summary.endswith(".")
    assert all(each.startswith("shardctl ") for each in found.examples)
    spellings = [each for option in found.options for each in option.spellings]
    assert len(set(spellings)) == len(spellings)
    assert sum(len(options) for _, options in found.panels()) == len(found.options)
    variables = [option.variable for option in found.options if option.variable]
    assert len(set(variables)) == len(variables)
    assert all(option.text for option in found.options)


def test_how_many_shards_is_said_once() -> None:
    """The options of size, of a command that has several, exclude each other and no others."""
    found = describe(made("reshard"))
    names = {max(option.flags, key=len)[2:].replace("-", "_") for option in found.exclusive()}
    assert names == set(SIZE_GROUP)
    assert describe(made("merge")).exclusive() == ()
