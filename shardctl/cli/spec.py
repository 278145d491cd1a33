"""The command line as a value, read off Typer's tree.

The help, the manual and the completions are made from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from inspect import cleandoc

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from shardctl.cli.options.panels import PANELS, SIZE_GROUP

EXAMPLE = "Example: "


@dataclass(frozen=True, slots=True)
class Argument:
    """A positional argument: `name` is SOURCE or TARGET; `many`: it may be given several times."""

    name: str
    text: str
    many: bool = False

    @property
    def spelling(self) -> str:
        """How the argument is written in a usage line."""
        return f"{self.name}..." if self.many else self.name


@dataclass(frozen=True, slots=True)
class Option:
    """One option in all its spellings.

    `text` is its one line of help, `details` the sentences for which `-h` has no room, empty where
    there are none. `value` is what the user puts for its value, for example `SIZE` or
    `source|natural`, and None for a switch; `default` and `variable` are as the user would write
    them, None where there is none. Of options with the same `group` only one can be given; an
    option that excludes no other is alone in its group.
    """

    flags: tuple[str, ...]
    negative: tuple[str, ...]
    value: str | None
    choices: tuple[str, ...]
    text: str
    details: str
    default: str | None
    variable: str | None
    panel: str
    group: str

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every way to write it, the short ones and those that turn it on first."""
        return (*self.flags, *self.negative)

    @property
    def spelling(self) -> str:
        """How the option is written in a list: `-j, --jobs N`."""
        value = "" if self.value is None else f" {self.value}"
        return ", ".join(self.spellings) + value


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or the program itself where `name` is empty."""

    name: str
    summary: str
    examples: tuple[str, ...]
    arguments: tuple[Argument, ...]
    options: tuple[Option, ...]

    @property
    def path(self) -> str:
        """The words to type for the command."""
        return f"shardctl {self.name}".rstrip()

    def panels(self) -> Iterator[tuple[str, tuple[Option, ...]]]:
        """Yield each heading with its options, in the order of the headings."""
        for panel in PANELS:
            options = tuple(option for option in self.options if option.panel == panel)
            if options:
                yield panel, options

    def exclusive(self) -> tuple[Option, ...]:
        """Return the options of which only one can be given."""
        groups = [option.group for option in self.options]
        return tuple(option for option in self.options if groups.count(option.group) > 1)

    def excluded_by(self, option: Option) -> tuple[str, ...]:
        """Return the spellings that exclude an option: its own, and those of its group."""
        return tuple(
            each
            for other in self.options
            if other.group == option.group
            for each in other.spellings
        )

    def synopsis(self) -> str:
        """Return the usage line, without the names of the program and the command."""
        if not self.name:
            return "COMMAND [OPTIONS]"
        names = " ".join(argument.spelling for argument in self.arguments)
        choice = " | ".join(
            f"{option.flags[-1]} {option.value or ''}".strip() for option in self.exclusive()
        )
        return f"{names} [{choice}] [OPTIONS]" if choice else f"{names} [OPTIONS]"


def describe(command: TyperCommand | TyperGroup) -> Command:
    """Return one command, or the program itself, as a value."""
    name = "" if isinstance(command, TyperGroup) else command.name or ""
    paragraphs = cleandoc(command.help or "").split("\n\n")
    return Command(
        name=name,
        summary=" ".join(paragraphs[0].split()),
        examples=tuple(
            text.removeprefix(EXAMPLE) for text in paragraphs if text.startswith(EXAMPLE)
        ),
        arguments=tuple(
            _argument(given) for given in command.params if isinstance(given, TyperArgument)
        ),
        options=tuple(
            _option(given, name) for given in command.params if isinstance(given, TyperOption)
        ),
    )


def _argument(argument: TyperArgument) -> Argument:
    return Argument(argument.human_readable_name, argument.help or "", many=argument.nargs == -1)


def _option(option: TyperOption, command: str) -> Option:
    name = option.name or ""
    text, _, details = (option.help or "").partition("\n\n")
    # A parser of an option lists its choices itself.
    kind = getattr(option.type, "func", option.type)
    choices = tuple(str(choice) for choice in getattr(kind, "choices", ()))
    return Option(
        flags=_short_first(option.opts),
        negative=_short_first(option.secondary_opts),
        value=None if option.is_flag else "|".join(choices) or option.metavar,
        choices=choices,
        text=text,
        details=details.strip(),
        default=_default(option),
        variable=_variable(option, command),
        panel=option.rich_help_panel or PANELS[-1],
        group=SIZE_GROUP[0] if name in SIZE_GROUP else name,
    )


def _short_first(flags: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(flags, key=len))


def _default(option: TyperOption) -> str | None:
    """Return the default as the user would write it: a value, or the switch that is on."""
    if isinstance(option.show_default, str):
        return option.show_default
    if isinstance(option.default, Enum):
        return str(option.default.value)
    return option.opts[0] if option.default is True else None


def _variable(option: TyperOption, command: str) -> str | None:
    if not option.allow_from_autoenv:
        return None
    return str(option.envvar or "_".join(filter(None, ("SHARDCTL", command, option.name))).upper())
