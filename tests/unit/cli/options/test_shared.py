"""How an option is declared: its texts, and whether a variable can set it."""

from __future__ import annotations

import pytest

from shardctl.cli.commands.verbs import VERBS
from shardctl.cli.options.everywhere import made
from shardctl.cli.options.panels import OUTPUT
from shardctl.cli.options.shared import decision, option
from shardctl.cli.spec import describe


def test_texts_are_a_line_and_more() -> None:
    """Without details the line is all; with them they are apart."""
    assert option(OUTPUT, "--wet", text="Wet").help == "Wet"
    assert option(OUTPUT, "--wet", text="Wet", details="One.").help == "Wet\n\nOne."


def test_a_decision_has_no_variable() -> None:
    """Any other option has."""
    assert option(OUTPUT, "--wet", text="Wet").allow_from_autoenv
    assert not decision(OUTPUT, "--wet", text="Wet").allow_from_autoenv


@pytest.mark.parametrize("name", [name for name in VERBS if name != "completion"])
def test_every_command_is_quiet_verbose_and_prints_json(name: str) -> None:
    """By the same spellings everywhere."""
    flags = {flag for each in describe(made(name)).options for flag in each.flags}
    assert {"--quiet", "-q", "--verbose", "-v", "--json", "--progress"} <= flags
