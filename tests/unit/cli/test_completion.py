"""The completion scripts are found, in a checkout and in an installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.cli import completion
from shardctl.cli.completion import script
from shardctl.cli.options.readers import ShellName
from shardctl.errors import MissingError
from tests.support.program import ROOT


@pytest.mark.parametrize("shell", ShellName)
def test_the_script_is_the_generated_one(shell: ShellName) -> None:
    """Each shell gets the file that `make generate` writes for it, byte for byte."""
    text = script(shell)
    assert text in [path.read_text(encoding="utf-8") for path in (ROOT / "completions").iterdir()]
    assert f"{shell} completion for shardctl" in text


def test_a_missing_script_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where neither place has the script, the error says how to get it."""
    monkeypatch.setattr(completion, "files", lambda _: tmp_path)
    monkeypatch.setattr(completion, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    with pytest.raises(MissingError, match="was not installed"):
        script(ShellName.zsh)
