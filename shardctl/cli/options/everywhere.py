"""The options that every command has, and the program itself: --version, -h, --help and --debug.

They are acted on before a command runs, or where its errors are rendered, so no command's body sees
them: they belong to the classes of which all commands are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from shardctl._version import __version__
from shardctl.cli.commands.verbs import VERBS
from shardctl.cli.exits import write_stdout
from shardctl.cli.options.panels import OUTPUT

#: What Typer calls with the context, the option and its value.
Act = Callable[[typer.Context, object, bool], None]


class Command(TyperCommand):
    """A command that has these options too, as its last ones."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params.extend(_options())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as Typer does; every error then knows which command it is about."""
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            if getattr(error, "ctx", None) is None:
                error.ctx = ctx  # type: ignore[attr-defined] # as Typer's own errors have it
            raise


class Program(TyperGroup):
    """The program, which has these options alone.

    A command is made when it is asked for: making one reads all its options, which takes as long
    as all the rest of a short help.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params.extend(_options())

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - they are always the same
        """Return the names of the commands."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Command | None:  # noqa: ARG002 - as above
        """Return the command of that name; None where there is none."""
        return made(cmd_name) if cmd_name in VERBS else None


@cache
def made(name: str) -> Command:
    """Return a command of `VERBS` with all its options."""
    single = typer.Typer(add_completion=False)
    single.command(name, cls=Command, help=VERBS[name].help, add_help_option=False)(
        VERBS[name].function(name)
    )
    command = get_command(single)
    if not isinstance(command, Command):
        raise TypeError("Typer has made a command of another class")
    return command


def _options() -> tuple[TyperOption, ...]:
    return (
        _switch("version", "--version", act=_print_version, text="Print the version"),
        _switch("short_help", "-h", act=_print_short_help, text="Show the main options"),
        _switch("help", "--help", act=_print_help, text="Show all options with their details"),
        _switch("debug", "--debug", act=None, text="Show the traceback of an error"),
    )


def _switch(name: str, flag: str, *, act: Act | None, text: str) -> TyperOption:
    """Return a switch. One that acts ends the command before anything else is read.

    It has no variable, or SHARDCTL_SPLIT_HELP=1 would keep `split` from its work.
    """
    return TyperOption(
        param_decls=[name, flag],
        is_flag=True,
        default=False,
        expose_value=False,
        callback=act,
        is_eager=act is not None,
        allow_from_autoenv=act is None,
        help=text,
        rich_help_panel=OUTPUT,
    )


def _print_version(_: typer.Context, __: object, asked: bool) -> None:
    if asked:
        write_stdout(f"shardctl {__version__}\n")
        raise typer.Exit


def _print_help(context: typer.Context, _: object, asked: bool) -> None:
    if asked:
        _print_page(context, full=True)


def _print_short_help(context: typer.Context, _: object, asked: bool) -> None:
    if asked:
        _print_page(context, full=False)


def _print_page(context: typer.Context, *, full: bool) -> None:
    from shardctl.cli.guidance.help import page  # noqa: PLC0415 - Rich is only needed to draw

    if isinstance(context.command, TyperCommand | TyperGroup):
        write_stdout(page(context.command, full=full))
        raise typer.Exit
