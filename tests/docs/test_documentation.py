"""The documentation says what is there: links lead somewhere, commands, options and findings are
explained.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardctl import errors
from shardctl.cli.commands.verbs import VERBS
from tests.support.program import ROOT, run_cli

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
COMMANDS = tuple(sorted(VERBS))
FINDINGS = ROOT / "docs" / "findings.md"
#: Strings of the form of a code that are none: progress events, styles of numbering, an encoding,
#: names of libraries.
NOT_CODES = {
    "shard-done",
    "after-suffix",
    "before-variant",
    "raw-unicode-escape",
    "sentence-transformers",
}
_CODE = re.compile(r"[a-z]+(?:-[a-z]+)+")

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(
        r"^#+ +(.+?)\s*$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE
    )
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
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors(target)
        ):
            broken.append(link)
    assert not broken


def linked(page: Path) -> set[Path]:
    """The files that a page links to."""
    found = (groups[0] or groups[1] for groups in _LINK.findall(page.read_text(encoding="utf-8")))
    names = [link.partition("#")[0] for link in found if not re.match(r"[a-z]+:", link)]
    return {(page.parent / name).resolve() for name in names if name}


def test_the_index_leads_to_every_page() -> None:
    """From the README to the documentation's index, and from there to each page, example and
    schema.
    """
    index = ROOT / "docs" / "README.md"
    assert index in linked(ROOT / "README.md")
    pages = {
        *ROOT.glob("docs/*.md"),
        *(path for path in ROOT.glob("examples/*") if path.is_file()),
    } - {index}
    assert sorted(pages - linked(index)) == []
    assert sorted({*ROOT.glob("docs/schemas/*")} - linked(ROOT / "docs" / "cli.md")) == []


def test_the_readme_names_every_command() -> None:
    """Someone who reads only the README has heard of each command."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [command for command in COMMANDS if f"shardctl {command}" not in text] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_documented(command: str) -> None:
    """Each long option of a command is somewhere in the documentation."""
    help_text = run_cli(command, "--help", env={"COLUMNS": "200"}).stdout
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", help_text))
    assert options
    assert [option for option in sorted(options) if option not in text] == []


def strings_in_code() -> Iterator[str]:
    """Every string literal of the program, but for the command line's own texts."""
    for path in sorted((ROOT / "shardctl").rglob("*.py")):
        if path.parent.name != "cli":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def codes_in_code() -> set[str]:
    """What `verify` can report and what an error can carry: codes in the source, and those of the
    tree of errors.
    """
    written = {text for text in strings_in_code() if _CODE.fullmatch(text)}
    tree = {
        value.code
        for value in vars(errors).values()
        if isinstance(value, type) and hasattr(value, "code")
    }
    return (written - NOT_CODES) | (tree - {errors.FormatError.code})


def codes_in_page() -> list[str]:
    """The first cell of each row of the tables of findings."""
    return re.findall(r"^\| `([a-z-]+)` \|", FINDINGS.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_code_is_explained() -> None:
    """Every code that the program can give is in the page of findings."""
    assert sorted(codes_in_code() - set(codes_in_page())) == []


def test_every_explained_code_exists() -> None:
    """The page explains no code that the program never gives, and none twice."""
    assert sorted(set(codes_in_page()) - codes_in_code() - {errors.FormatError.code}) == []
    assert len(codes_in_page()) == len(set(codes_in_page()))


def test_every_code_has_a_cause_and_a_remedy() -> None:
    """No row of the tables has an empty cell."""
    rows = re.findall(
        r"^\| `[a-z-]+` \|(.*)\|$", FINDINGS.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert all(cell.strip() for row in rows for cell in row.split("|"))


def test_the_interface_names_every_command_and_exit_code() -> None:
    """The page of the command line has a line for each command, and each exit code of the tree of
    errors.
    """
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [command for command in COMMANDS if f"shardctl {command} " not in text] == []
    tree = {
        value.exit_code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.ShardctlError)
    }
    assert [code for code in sorted(tree) if f"| {code} |" not in text] == []
