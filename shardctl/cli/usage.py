"""Errors for command lines that cannot be parsed, each with the line to type instead."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from shardctl.errors import UsageError

if TYPE_CHECKING:
    import typer
    from typer.core import TyperArgument, TyperOption

    Parameter = TyperArgument | TyperOption


def explain(error: typer.TyperException) -> UsageError:
    """Return the parser's error as a UsageError; the message begins in lower case.

    The hint says what to type next.
    """
    context = getattr(error, "ctx", None)
    # For an option Typer's message lists the guesses too; here they belong in the hint.
    text = error.message if hasattr(error, "possibilities") else error.format_message()
    message, _, guess = text.partition(". Did you mean ")
    message = (message[:1].lower() + message[1:]).rstrip(".")
    if context is None:
        return UsageError(message, hint="`shardctl COMMAND --help` lists the options")
    # Only the nearest option: the next ones share little more than their first letters.
    guesses = tuple(getattr(error, "possibilities", None) or ())[:1]
    return UsageError(
        message,
        hint=_hint(context, getattr(error, "param", None), message, guesses or _quoted(guess)),
    )


def _quoted(text: str) -> tuple[str, ...]:
    """Return the commands in a guess of Typer's, for example `'split', 'merge'?`."""
    return tuple(f"shardctl {name}" for name in re.findall(r"'(.*?)'", text))


def _hint(
    context: typer.Context, parameter: Parameter | None, message: str, guesses: tuple[str, ...]
) -> str:
    see = f"`{context.command_path} --help`"
    if guesses:
        return f"did you mean {' or '.join(f'`{guess}`' for guess in guesses)}? See {see}"
    if "unexpected extra argument" in message:
        example = _with_directory(context)
        return f"SOURCE is one path: name the directory of the shards, `{example}`; see {see}"
    if message.startswith("missing argument"):
        return f"type `{context.command_path} {' '.join(_arguments(context))}`; see {see}"
    variable = _variable(context, parameter)
    if variable is not None:
        return f"the value comes from the variable {variable}: correct it or `unset {variable}`"
    return f"{see} lists the options" if context.parent else f"{see} lists the commands"


def _arguments(context: typer.Context) -> list[str]:
    return [
        each.human_readable_name
        for each in context.command.params
        if each.param_type_name == "argument"
    ]


def _with_directory(context: typer.Context) -> str:
    """Return the command with the directory of the first file instead of the files."""
    directory = os.path.dirname(str(context.params.get("source") or "")) or "."
    return " ".join((context.command_path, directory, *_arguments(context)[1:]))


def _variable(context: typer.Context, parameter: Parameter | None) -> str | None:
    """Return the environment variable that a value comes from; None for one that was typed."""
    name = None if parameter is None else parameter.name
    source = None if name is None else context.get_parameter_source(name)
    if parameter is None or name is None or source is None or source.name != "ENVIRONMENT":
        return None
    return str(parameter.envvar or f"{context.auto_envvar_prefix}_{name}".upper())
