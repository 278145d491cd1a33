"""The completion scripts that come with shardctl: written by `make generate`, printed as they are.

A wheel has them inside the package; in a checkout of the source they are in `completions/`.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from shardctl.errors import MissingError

_NAMES = {"bash": "shardctl.bash", "zsh": "_shardctl", "fish": "shardctl.fish"}


def script(shell: str) -> str:
    """Return the completion script for bash, zsh or fish.

    Raises MissingError where it was not installed.
    """
    name = _NAMES[shell]
    installed = files("shardctl").joinpath("completions", name)
    if installed.is_file():
        return installed.read_text(encoding="utf-8")
    checkout = Path(__file__).parents[2] / "completions" / name
    if checkout.is_file():
        return checkout.read_text(encoding="utf-8")
    raise MissingError(
        f"the completion script '{name}' was not installed with shardctl",
        hint="install shardctl from its wheel",
    )
