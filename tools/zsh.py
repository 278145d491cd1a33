"""The completion for zsh: a file in `fpath`, or one to source after `compinit`."""

from __future__ import annotations

from collections.abc import Iterator

from shardctl.cli.spec import Command, Option
from tools import source, values
from tools.values import Value

_HEAD = """\
#compdef shardctl
# zsh completion for shardctl. Written by `make generate` from the command line itself.
"""

# As an autoloaded file this is the body of the function `_shardctl`, and has to do its work at
# once; sourced, it only registers the function.
_TAIL = """\
if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
    _shardctl "$@"
else
    compdef _shardctl shardctl
fi
"""


def script() -> str:
    """Return the script for a directory `site-functions`, under the name `_shardctl`."""
    return "\n".join((_HEAD, *_main(), *_subcommands(), _TAIL))


def _main() -> Iterator[str]:
    root, *commands = source.commands()
    yield "_shardctl() {\n    local context state state_descr line\n    typeset -A opt_args\n"
    yield "    _arguments -C -s -S \\"
    for option in root.options:
        yield f"        {_option(option, root)} \\"
    yield "        '1: :_shardctl_commands' \\\n        '*:: :->arguments'\n"
    yield "    if [[ $state == arguments ]] && (( $+functions[_shardctl_$line[1]] )); then"
    yield '        curcontext="${curcontext%:*:*}:shardctl-$line[1]:"'
    yield "        _shardctl_$line[1]\n    fi\n}\n"
    yield "_shardctl_commands() {\n    local -a commands=("
    for command in commands:
        yield f"        {_quoted(f'{command.name}:{command.summary}')}"
    yield f"        {_quoted(f'{source.HELP}:{source.HELP_TEXT}')}"
    yield "    )\n    _describe -t commands 'shardctl command' commands\n}\n"


def _subcommands() -> Iterator[str]:
    names = " ".join(command.name for command in source.commands()[1:])
    action = _quoted(f"1:COMMAND:({names})")
    yield f"_shardctl_{source.HELP}() {{\n    _arguments -s -S {action}\n}}\n"
    for command in source.commands()[1:]:
        yield f"_shardctl_{command.name}() {{\n    _arguments -s -S \\"
        for option in command.options:
            yield f"        {_option(option, command)} \\"
        specs = [
            _quoted(f"{number}:{argument.name}:{_action(values.of_argument(command, argument))}")
            for number, argument in enumerate(command.arguments, 1)
        ]
        yield " \\\n".join(f"        {spec}" for spec in specs) + "\n}\n"


def _option(option: Option, command: Command) -> str:
    """Return the specification of an option: what it excludes, its spellings, text and value."""
    excluded = command.excluded_by(option)
    value = values.of_option(option)
    text = option.text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    rest = f"[{text}]" if value is None else f"[{text}]:{option.value}:{_action(value)}"
    return " \\\n        ".join(
        _quoted(f"({' '.join(excluded)}){spelling}{_sign(spelling, value)}{rest}")
        for spelling in option.spellings
    )


def _sign(spelling: str, value: Value | None) -> str:
    """Return how the value follows: `=` allows `--option=value`, `+` allows `-oVALUE`."""
    if value is None:
        return ""
    return "=" if spelling.startswith("--") else "+"


def _action(value: Value) -> str:
    suffixes = "|".join(values.SOURCE_SUFFIXES)
    indexes = "|".join(pattern.removeprefix("*.") for pattern in values.INDEX_PATTERNS)
    return {
        "words": f"({' '.join(value.words)})",
        "checkpoint": f'_files -g "*.({suffixes}|{indexes})(-.)"',
        "weights": f'_files -g "*.({"|".join(values.TARGET_SUFFIXES)})(-.)"',
        "directory": "_files -/",
        "report": f'_files -g "*.({"|".join(values.REPORT_SUFFIXES)})(-.)"',
        "plan": f'_files -g "*.{values.PLAN_SUFFIX}(-.)"',
        "typed": " ",
    }[value.kind]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
