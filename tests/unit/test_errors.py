"""The tree of errors is what its module says, to the letter."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from shardctl import errors
from shardctl.errors import ShardctlError, Stopped


def classes() -> list[type[ShardctlError]]:
    """Every class of the tree, the root first."""
    every = [value for value in vars(errors).values() if inspect.isclass(value)]
    return [each for each in every if issubclass(each, ShardctlError)]


def test_the_tree_is_the_one_in_the_docstring() -> None:
    """Each class is in it once, below its parent, with its exit code, in the order in which
    they are written.
    """
    assert errors.__doc__ is not None
    drawn: list[tuple[str, str, int]] = []
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r" {4}([│├└─ ]*)(\w+Error) +(\d+) ", line)
        if match is not None:
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            drawn.append((match[2], path[depth - 1] if depth else "Exception", int(match[3])))
    assert drawn == [
        (each.__name__, each.__bases__[0].__name__, each.exit_code) for each in classes()
    ]
    assert len(drawn) > 8


@pytest.mark.parametrize("kind", classes())
def test_an_error_says_what_where_and_what_to_do(kind: type[ShardctlError]) -> None:
    """Message and hint are there, places where they are known, and a code that is never empty."""
    error = kind("it is broken", hint="fix it", file="f", tensor="t", offset=7)
    assert (str(error), error.message, error.hint) == ("it is broken", "it is broken", "fix it")
    assert (error.file, error.tensor, error.offset) == ("f", "t", 7)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.code)
    assert kind("it is broken", hint="fix it").file is None


def test_a_code_of_its_own_is_the_instances() -> None:
    """A finding's code on one error changes no other."""
    assert errors.FormatError("x", hint="y", code="zip-invalid").code == "zip-invalid"
    assert errors.FormatError("x", hint="y").code == errors.InputError.code == "input"


def test_a_hint_is_never_left_out() -> None:
    """An error without a way out cannot be made."""
    with pytest.raises(TypeError, match="hint"):
        ShardctlError("it is broken")  # type: ignore[call-arg]  # what is tested


def test_a_stop_is_not_an_error() -> None:
    """A signal passes every handler of errors, as an interrupt does."""
    assert not issubclass(Stopped, Exception)
    assert Stopped(15).signum == 15


@pytest.mark.parametrize("kind", classes())
def test_an_error_survives_pickling(kind: type[ShardctlError]) -> None:
    """An error that comes from another process has the same type, code, texts and place."""
    error = kind("it is broken", hint="fix it", code="c-d", file="f", tensor="t", offset=7)
    error.add_note("seen twice")
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is kind
    assert other.args == error.args
    assert vars(other) == vars(error)
    assert other.exit_code == error.exit_code


def test_a_stop_survives_pickling() -> None:
    """The signal of a run that was interrupted in another process is known, and its result."""
    other = pickle.loads(pickle.dumps(Stopped(15, "t")))
    assert (other.signum, other.complete) == (15, "t")
