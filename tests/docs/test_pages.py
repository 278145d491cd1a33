"""The documentation's examples run, and print what the pages show."""

from __future__ import annotations

import pytest

from tests.docs.pages import LANGUAGES, Scene, Shell, blocks, pattern, play, scenes
from tests.support.program import ROOT

PAGES = [ROOT / "README.md", *sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])]
SCENES = [scene for page in PAGES for scene in scenes(page, ROOT)]
ALIASES = {"bash", "shell", "zsh", "shellsession"}


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"{scene.page}: {scene.heading}")
def test_the_examples_print_what_is_shown(scene: Scene, shell: Shell) -> None:
    """Every command of the blocks that share a directory, one after another, gives the output below
    it.
    """
    play(scene, shell)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_not_run_says_why(page: object) -> None:
    """A block of commands has a language that is run, or a reason in words not to be."""
    for block in (block for path in PAGES if path == page for block in blocks(path, ROOT)):
        assert block.language not in ALIASES, f"{block.heading}: say `console` or `sh`"
        if block.language in LANGUAGES and not block.is_run:
            assert len(block.directives["not run"].split()) > 2, block.heading
        begins = {"console": "$ ", "python": ">>> "}.get(block.language, "")
        if block.is_run and "file" not in block.directives:
            assert block.text.startswith(begins), block.heading


@pytest.mark.parametrize(
    ("shown", "printed", "stand_in", "fits"),
    [
        ("a\n", "a\n", False, True),
        ("a\n", "b\n", False, False),
        ("", "a\n", False, False),
        ("a … c\n", "a b c\n", False, True),
        ("a\n…\nc\n", "a\nb\nb\nc\n", False, True),
        ("a\n…\nc\n", "a\nc\nd\n", False, False),
        ("3 files, 1.2 MB\n", "3 files, 9.9 KB\n", False, False),
        ("3 files, 1.2 MB\n", "12 files, 9,900 B\n", True, True),
        ("3 files   1.2 MB\n", "3 files   MB\n", True, False),
        (
            "wrote 1 file in 4.0 s (1 MB/s): all\n",
            "wrote 1 file in 0.1 s (2 KB/s): none\n",
            False,
            True,
        ),
        ("wrote 1 file in 4.0 s\n", "wrote 2 files in 4.0 s\n", False, False),
    ],
)
def test_output_is_compared(shown: str, printed: str, stand_in: bool, fits: bool) -> None:
    """What is left open on a page may differ, and nothing else."""
    assert bool(pattern(shown, stand_in=stand_in).fullmatch(printed)) is fits
