"""Every command that the program lists exists, with its options."""

from __future__ import annotations

import inspect
import shlex

import pytest

from shardctl.cli.commands.verbs import VERBS, Verb
from shardctl.cli.options.everywhere import made


@pytest.mark.parametrize("name", VERBS)
def test_a_command_has_its_function(name: str) -> None:
    """It is found in its module, and each of its parameters is one of the command line."""
    function = VERBS[name].function(name)
    assert function.__name__ == name
    parameters = inspect.signature(function).parameters.keys() - {"ctx"}
    assert parameters
    assert parameters <= {each.name for each in made(name).params}


@pytest.mark.parametrize("name", VERBS)
def test_an_example_can_be_typed(name: str) -> None:
    """It is a line of that command which the command understands."""
    program, verb, *words = shlex.split(VERBS[name].example)
    assert (program, verb) == ("shardctl", name)
    context = made(name).make_context(name, words)
    assert all(context.params[each.name or ""] is not None for each in made(name).params[:1])


def test_the_help_has_the_example_below() -> None:
    """A text of two paragraphs."""
    verb = Verb("Paint.", "shardctl paint wall", "none")
    assert verb.help == "Paint.\n\nExample: shardctl paint wall"


def test_a_function_that_is_missing_is_an_error() -> None:
    """A name that is wrong in the list does not pass unnoticed."""
    with pytest.raises(AttributeError):
        VERBS["split"].function("paint")
