"""The application, which has all the commands."""

from __future__ import annotations

from shardctl.cli.options.everywhere import Program

app = Program(
    name="shardctl",
    help="Split, merge, convert, inspect and verify model checkpoints: lazily, safely, "
    "at the speed of a copy.",
    # Our own --help, in `everywhere`: Typer's would also be found in the environment, as
    # SHARDCTL_SPLIT_HELP.
    add_help_option=False,
    context_settings={"auto_envvar_prefix": "SHARDCTL"},
)
