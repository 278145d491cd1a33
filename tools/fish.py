"""The completion for fish (3.0 and later)."""

from __future__ import annotations

from collections.abc import Iterator

from shardctl.cli.spec import Command, Option
from tools import source, values
from tools.values import Value

_HEAD = """\
# fish completion for shardctl. Written by `make generate` from the command line itself.

set -g __shardctl_with_values {with_values}

# Print the words between the program's name and the cursor, without options and their values.
function __shardctl_arguments
    set -l waiting 0
    set -l ended 0
    for word in (commandline -opc)[2..-1]
        if test $waiting = 1
            set waiting 0
        else if test $ended = 1; or not string match -qr -- '^-.' $word
            echo -- $word
        else if test $word = --
            set ended 1
        else if contains -- $word $__shardctl_with_values
            set waiting 1
        end
    end
end

# Whether the command is $argv[1], and argument number $argv[2] of it is next, counted from 0.
function __shardctl_at
    set -l words (__shardctl_arguments)
    test (count $words) -gt 0; and test $words[1] = $argv[1]
    and begin
        test (count $argv) -eq 1; or test (count $words) -eq (math $argv[2] + 1)
    end
end

# Whether the command is $argv[1], and none of the options in the rest is given yet.
function __shardctl_free
    __shardctl_at $argv[1]; or return
    set -l words (commandline -opc)
    # An option whose value is being completed does not exclude itself.
    contains -- $words[-1] $__shardctl_with_values; and set -e words[-1]
    for word in $words
        contains -- (string replace -r -- '=.*' '' $word) $argv[2..-1]; and return 1
    end
    return 0
end

function __shardctl_needs_command
    test (count (__shardctl_arguments)) -eq 0
end

# Directories, and files that match the regular expression.
function __shardctl_paths
    set -l typed (commandline -ct | string replace -r -- '^-[^=]*=' '')
    # A command without completions gets the shell's files.
    complete -C "__shardctl_no_such_command $typed" | string match -r -- '^[^\\t]*(?:/|'$argv[1]')$'
end

complete -c shardctl -f
"""


def script() -> str:
    """Return the script for a directory `vendor_completions.d`."""
    root, *commands = source.commands()
    return (
        "\n".join(
            (_HEAD.replace("{with_values}", _with_values()), *_root(root), *_commands(commands))
        )
        + "\n"
    )


def _with_values() -> str:
    """Return the options that take a value.

    Raises ValueError where an option takes one in some commands only.
    """
    options = [option for command in source.commands() for option in command.options]
    taking = {flag for option in options if option.value is not None for flag in option.flags}
    switches = {flag for option in options if option.value is None for flag in option.flags}
    if taking & switches:
        raise ValueError(f"{taking & switches} take a value in one command and none in another")
    return " ".join(sorted(taking))


def _root(root: Command) -> Iterator[str]:
    for option in root.options:
        shown = f"{_spellings(option.flags)} -d {_quoted(option.text)}"
        yield f"complete -c shardctl -n __shardctl_needs_command {shown}"


def _commands(commands: list[Command]) -> Iterator[str]:
    for command in commands:
        summary = _quoted(command.summary)
        yield f"complete -c shardctl -n __shardctl_needs_command -a {command.name} -d {summary}"
    asks = f"complete -c shardctl -n __shardctl_needs_command -a {source.HELP}"
    yield f"{asks} -d {_quoted(source.HELP_TEXT)}"
    names = " ".join(command.name for command in commands)
    yield f"complete -c shardctl -n '__shardctl_at {source.HELP} 0' -a '{names}'"
    for command in commands:
        yield ""
        for number, argument in enumerate(command.arguments):
            offered = _offered(values.of_argument(command, argument))
            condition = f"'__shardctl_at {command.name} {number}'"
            yield f"complete -c shardctl -n {condition} {offered}".rstrip()
        for option in command.options:
            yield from _option(option, command)


def _option(option: Option, command: Command) -> Iterator[str]:
    others = command.excluded_by(option)
    value = values.of_option(option)
    condition = f"complete -c shardctl -n '__shardctl_free {command.name} {' '.join(others)}'"
    for flags in filter(None, (option.flags, option.negative)):
        takes = "" if value is None else f"-x {_offered(value)}"
        yield f"{condition} {_spellings(flags)} {takes}".rstrip() + f" -d {_quoted(option.text)}"


def _spellings(flags: tuple[str, ...]) -> str:
    return " ".join(
        f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in flags
    )


def _offered(value: Value) -> str:
    endings = (*(f"*.{suffix}" for suffix in values.SOURCE_SUFFIXES), *values.INDEX_PATTERNS)
    suffixes = "|".join(_regex(pattern.removeprefix("*.")) for pattern in endings)
    patterns = {
        "checkpoint": rf"\.(?:{suffixes})",
        "weights": rf"\.(?:{'|'.join(values.TARGET_SUFFIXES)})",
        "directory": "/",
        "report": rf"\.(?:{'|'.join(values.REPORT_SUFFIXES)})",
        "plan": rf"\.{values.PLAN_SUFFIX}",
    }
    if value.kind == "words":
        return f"-a '{' '.join(value.words)}'"
    return f"""-a '(__shardctl_paths "{patterns[value.kind]}")'""" if value.kind in patterns else ""


def _regex(pattern: str) -> str:
    return pattern.replace(".", "\\.").replace("*", "[^.]+")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
