"""The help of a command on one screen: what it does, its options in panels, an example, and where there is more."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from shardctl.cli import spec as tree
from shardctl.cli.terminal.canvas import canvas, drawn

#: Columns that a text stands to the right of its name where it stands below.
INDENT = 4
EXIT_CODES = "Exit codes: 0 done, 1 a check said no, 2 usage, 3 source, 4 something in the way, 5 disk, 70 a bug."


def page(command: TyperCommand | TyperGroup) -> str:
    """The help of a command, or of the program itself, for the terminal or pipe that stdout is."""
    shown = tree.describe(command)
    parts = _program_parts(command) if isinstance(command, TyperGroup) else _command_parts(shown)
    terminal = (sys.stdout is not None and sys.stdout.isatty()) or None
    return drawn(canvas(), _usage(shown), f"\n{shown.summary}\n", *parts, terminal=terminal)


def _usage(shown: tree.Command) -> Text:
    return Text.assemble(("Usage: ", "bold"), (shown.path, "bold cyan"), f" {shown.synopsis()}")


def _program_parts(command: TyperGroup) -> list[RenderableType]:
    shown, commands = tree.program(command)
    rows = [(Text(each.name, "bold cyan"), Text(each.summary)) for each in commands]
    width = max(len(each.spelling) for each in shown.options)
    return [
        _Panel("Commands", rows, width),
        *_option_panels(shown, width),
        f"{EXIT_CODES}\nshardctl COMMAND --help shows a command's options; `man shardctl` is the manual.",
    ]


def _command_parts(shown: tree.Command) -> list[RenderableType]:
    width = max(len(option.spelling) for option in shown.options)
    arguments = [
        (Text(argument.name, "bold yellow"), Text(argument.text)) for argument in shown.arguments
    ]
    variable = min((option.variable for option in shown.options if option.variable), key=len)
    return [
        _Panel("Arguments", arguments, width),
        *_option_panels(shown, width),
        Text.assemble((tree.EXAMPLE, "bold"), shown.examples[0]),
        f"Each option has a variable, as {variable}; more in `man shardctl-{shown.name}`.",
    ]


def _option_panels(shown: tree.Command, width: int) -> list[RenderableType]:
    panels = (
        (name, [option for option in options if not _elsewhere(option, shown)])
        for name, options in shown.panels()
    )
    return [
        _Panel(name, [(_spelling(option), _text(option)) for option in options], width)
        for name, options in panels
    ]


def _elsewhere(option: tree.Option, shown: tree.Command) -> bool:
    """Whether the program's own help is the place for an option, to keep a command's help on one screen."""
    return option.everywhere and bool(shown.name)


@dataclass(frozen=True, slots=True)
class _Panel:
    """A panel of names and texts, side by side where there is room, else each text below its name."""

    title: str
    rows: Sequence[tuple[Text, Text]]
    name_width: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        inside = self._beside() if options.max_width >= 2 * self.name_width else self._below()
        yield Panel(inside, title=self.title, title_align="left", border_style="dim")

    def _beside(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(min_width=self.name_width)
        table.add_column(ratio=1)
        for row in self.rows:
            table.add_row(*row)
        return table

    def _below(self) -> Group:
        return Group(
            *(part for name, text in self.rows for part in (name, Padding(text, (0, 0, 0, INDENT))))
        )


def _spelling(option: tree.Option) -> Text:
    flags = Text(", ").join(Text(flag, "bold cyan") for flag in option.spellings)
    return flags if option.value is None else Text.assemble(flags, " ", (option.value, "yellow"))


def _text(option: tree.Option) -> Text:
    """What an option does, with its default where that is a value; what a switch does by default, the text says."""
    if option.default is None or option.negative:
        return Text(option.text)
    return Text.assemble(option.text, " ", (f"[{option.default}]", "dim"))
