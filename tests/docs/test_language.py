"""The words that docs/style.md asks to avoid are used nowhere."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import ROOT

#: Words that are not used, each with what to write instead.
AVOIDED = {
    r"nothing to complain": "no problems found",
    r"\bg[ia]v(e|es|ing|en) way\b": "is replaced, is removed",
    r"\banew\b": "again",
    r"\b(stands|stood)\b": "is",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\b(is|are|was|were|be) told\b": "gets, is called with",
    r"(?<!here )\b(is|are|was|were) no (?!longer|more|less|fewer)": "is not a",
    r"\bwhat (is|are) no\b": "what is not a",
    r"\bshall\b": "must, will",
    r"\bhas the word\b": "decides",
    r"\bthere is nothing at\b": "does not exist",
    r"\bhalf-done\b(?![\"`])": "unfinished",
    r"\bput(s|ting)? in place\b": "rename into place",
    r"\bof (its|their) own\b": "separate",
    r"\bbehind\b": "after",
    r"\btalks?\b": "message, log",
    r"\b(no|some)body\b": "say who",
    r"\bfolders?\b(?!-(ambiguous|leftover))": "directory",
}

#: Files that name the words, so as to replace them; one that is not ours to word; and those of
#: functions whose parameter is called as in the function of transformers that they stand in for.
NAMING = {
    *("docs/style.md", "tests/docs/test_language.py", "LICENSE"),
    *(f"shardctl/torch/{name}.py" for name in ("loading/load", "saving/save", "state_dict")),
}
TEXTS = (
    ".py",
    ".md",
    ".in",
    ".1",
    ".json",
    ".html",
    ".css",
    ".js",
    ".svg",
    ".toml",
    ".yml",
    ".yaml",
)


def texts() -> Iterator[Path]:
    """Every text of the project that people read or write by hand."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if name not in NAMING and path.is_file() and (path.suffix in TEXTS or not path.suffix):
            yield path


@pytest.mark.parametrize(("word", "instead"), AVOIDED.items())
def test_avoided_words_are_not_used(word: str, instead: str) -> None:
    """No text of the project uses a word that the style page asks to avoid."""
    pattern = re.compile(word, re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not found, f"write {instead!r} in {len(found)} lines:\n" + "\n".join(found)
