"""The documentation says what is there: links lead somewhere, commands, options and findings are explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.checkpoints import ROOT, run_cli

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
COMMANDS = ("split", "merge", "reshard", "inspect", "verify", "index", "apply")

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?)\s*$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there, and every anchor a heading."""
    broken = []
    for groups in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        link = groups[0] or groups[1]
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_the_readme_names_every_command() -> None:
    """Someone who reads only the README has heard of each command."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [command for command in COMMANDS if f"shardctl {command}" not in text] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_documented(command: str) -> None:
    """Each long option of a command stands somewhere in the documentation."""
    help_text = run_cli(command, "--help", env={"COLUMNS": "200"}).stdout
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", help_text))
    assert options
    assert [option for option in sorted(options) if option not in text] == []
