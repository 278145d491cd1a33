"""Errors for command lines that cannot be parsed, in our own words, each with what to type instead.

The parser's texts are never shown: the class of its error says what went wrong. What a function of
ours says about a value is shown.
"""

from __future__ import annotations

import difflib
import os
import re
from typing import TYPE_CHECKING

from typer._click import exceptions as parser
from typer.core import TyperGroup

from shardctl.cli.guidance.meanings import ARGUMENTS, commands_meant, option_meant
from shardctl.errors import UsageError

if TYPE_CHECKING:
    import typer
    from typer._click.core import Parameter

#: How the parser begins what it says about a value, and about a command.
_VALUE = re.compile(r"(?P<value>.*?) is not (?:a valid|in the range|one of)\b", re.DOTALL)
_COMMAND = re.compile(r"No such command '(?P<word>.*?)'", re.DOTALL)
_EXTRA = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((?P<words>.*)\)", re.DOTALL)
#: What people type for "let the program choose".
_AUTOMATIC = ("auto", "default", "none", "max", "-1")


def explain(error: typer.TyperException) -> UsageError:
    """Return the parser's error as a UsageError: what is wrong, and what to type next."""
    context: typer.Context | None = getattr(error, "ctx", None)
    if context is None:
        return UsageError(
            _lowered(error.message), hint="`shardctl COMMAND --help` lists the options"
        )
    if isinstance(error, parser.NoSuchOption):
        return _no_such_option(context, error.option_name)
    if isinstance(error, parser.BadOptionUsage):
        return _bad_usage(context, error.option_name)
    if isinstance(error, parser.BadParameter):
        return _bad_parameter(context, error)
    return _bad_words(context, error.message)


def _bad_words(context: typer.Context, message: str) -> UsageError:
    """Return the error for words that are neither a command nor an argument."""
    command, extra = _COMMAND.match(message), _EXTRA.match(message)
    if command is not None:
        return _no_such_command(context, command["word"])
    if extra is not None and context.info_name == "apply":
        return UsageError(
            f"too many arguments: {extra['words']}",
            hint="give one plan; --source and --target take the place of its paths; see "
            f"{_help(context)}",
        )
    if extra is not None:
        return UsageError(
            f"too many arguments: {extra['words']}",
            hint=f"SOURCE is one path: name the directory of the shards, "
            f"`{_with_directory(context)}`; see {_help(context)}",
        )
    return UsageError(_lowered(message), hint=f"see {_help(context)}")


def place_of(context: typer.Context, parameter: Parameter) -> tuple[str, str]:
    """Return what a value was given for, an option or a variable, and the hint that goes with it.

    The hint is empty for a value that was typed.
    """
    variable = _variable(context, parameter)
    if variable is None:
        return _spelling(parameter), ""
    return variable, f"correct the variable, or `unset {variable}`"


def _no_such_option(context: typer.Context, word: str) -> UsageError:
    message = f"`{context.command_path}` has no option {word}"
    argument = ARGUMENTS.get(word)
    if argument in _arguments(context):
        return UsageError(
            message,
            hint=f"{argument} is an argument: type `{_pattern(context)}`; see {_help(context)}",
        )
    elsewhere = _commands_with(context, word)
    meant = option_meant(word, _options(context.command), by_letters=not elsewhere)
    if meant is not None:
        return UsageError(message, hint=f"did you mean `{meant}`? See {_help(context)}")
    if elsewhere:
        where = ", ".join(f"`{path} {word}`" for path in elsewhere)
        comes = (
            "options come after the command" if context.parent is None else "elsewhere it exists"
        )
        return UsageError(message, hint=f"{comes}: {where}; see {_help(context)}")
    return UsageError(message, hint=f"{_help(context)} lists the options")


def _no_such_command(context: typer.Context, word: str) -> UsageError:
    message = f"no such command '{word}'"
    if os.path.exists(word) or "://" in word:
        return UsageError(
            message,
            hint=f"a command comes first, for example `shardctl inspect {word}`; see "
            f"{_help(context)}",
        )
    meant = commands_meant(word, list(_commands(context)))
    if not meant:
        return UsageError(message, hint=f"{_help(context)} lists the commands")
    guesses = " or ".join(f"`shardctl {each}`" for each in meant)
    return UsageError(message, hint=f"did you mean {guesses}? See {_help(context)}")


def _bad_parameter(context: typer.Context, error: parser.BadParameter) -> UsageError:
    """Return the error for an argument that is missing, or a value of a wrong type."""
    parameter = error.param
    if parameter is not None and not isinstance(error, parser.MissingParameter):
        return _bad_value(context, parameter, error.message)
    name = "an argument" if parameter is None else _spelling(parameter)
    arguments = _arguments(context)
    # Of `SOURCE... TARGET` the parser takes a single word for TARGET, and misses the other.
    several = parameter is not None and parameter.nargs == -1 and len(arguments) > 1
    message = f"{' and '.join(arguments)} are needed" if several else f"{name} is missing"
    return UsageError(message, hint=f"type `{_pattern(context)}`; see {_help(context)}")


def _bad_usage(context: typer.Context, name: str) -> UsageError:
    option = next((each for each in context.command.params if name in each.opts), None)
    if option is not None and not getattr(option, "is_flag", False):
        message = f"{name} needs a value: {_metavar(option)}"
    else:
        message = f"{name} is a switch, and takes no value"
    return UsageError(message, hint=f"see {_help(context)}")


def _bad_value(context: typer.Context, parameter: Parameter, said: str) -> UsageError:
    """Return the error for a value of a wrong type, naming the option or the variable."""
    place, correct = place_of(context, parameter)
    match = _VALUE.match(said)
    value = "" if match is None else match["value"].strip("'\"")
    choices = _choices(parameter)
    message = f"{place} takes {_expected(parameter, choices)}"
    if match is not None:
        message += f", not '{value}'"
    elif hasattr(parameter.type, "func"):
        message = f"{place}: {said.rstrip('.')}"
    near = _nearest(value.lower(), choices)
    if correct:
        hint = correct
    elif near is not None:
        hint = f"did you mean `{place} {near}`? See {_help(context)}"
    elif value.lower() in _AUTOMATIC and not choices:
        hint = f"leave {place} out for the default; see {_help(context)}"
    else:
        hint = f"see {_help(context)}"
    return UsageError(message, hint=hint)


def _nearest(value: str, choices: tuple[str, ...]) -> str | None:
    """Return the choice that is meant: by its letters, or the format of files with this suffix."""
    from shardctl.formats.registry import promised_by  # noqa: PLC0415 - only for the message

    near = difflib.get_close_matches(value, choices, n=1, cutoff=0.6)
    promised = promised_by(f".{value}")
    if not near and promised is not None and promised.name in choices:
        return promised.name
    return near[0] if near else None


def _expected(parameter: Parameter, choices: tuple[str, ...]) -> str:
    if choices:
        return f"one of {', '.join(choices)}"
    if getattr(parameter, "is_flag", False):
        return "1 or 0"
    least = getattr(parameter.type, "min", None)
    if least is not None:
        return f"a whole number of at least {least}"
    return f"a {_metavar(parameter)}"


def _choices(parameter: Parameter) -> tuple[str, ...]:
    kind = getattr(parameter.type, "func", parameter.type)
    return tuple(str(getattr(each, "value", each)) for each in getattr(kind, "choices", ()))


def _metavar(parameter: Parameter) -> str:
    return "|".join(_choices(parameter)) or getattr(parameter, "metavar", None) or "value"


def _spelling(parameter: Parameter) -> str:
    """Return how a parameter is written: the long option, or the argument's name."""
    if parameter.param_type_name == "argument":
        return str(parameter.human_readable_name)
    return max(parameter.opts, key=len)


def _help(context: typer.Context) -> str:
    return f"`{context.command_path} --help`"


def _pattern(context: typer.Context) -> str:
    return " ".join((context.command_path, *_arguments(context)))


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


def _options(command: object) -> list[str]:
    """Return every way to write the options of a command."""
    return [
        flag
        for each in getattr(command, "params", ())
        if each.param_type_name == "option"
        for flag in (*each.opts, *each.secondary_opts)
    ]


def _commands(context: typer.Context) -> dict[str, object]:
    program = context.find_root().command
    if not isinstance(program, TyperGroup):
        return {}
    return {name: program.get_command(context, name) for name in program.list_commands(context)}


def _commands_with(context: typer.Context, word: str) -> list[str]:
    """Return the commands that have an option."""
    commands = _commands(context)
    return [f"shardctl {name}" for name, each in commands.items() if word in _options(each)]


def _variable(context: typer.Context, parameter: Parameter) -> str | None:
    """Return the environment variable that a value comes from; None for one that was typed."""
    source = None if parameter.name is None else context.get_parameter_source(parameter.name)
    if source is None or source.name != "ENVIRONMENT":
        return None
    return str(parameter.envvar or f"{context.auto_envvar_prefix}_{parameter.name}".upper())


def _lowered(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".")
