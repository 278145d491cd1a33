"""Write the completions, the manual and the reference: `python -m tools.generate`."""

from __future__ import annotations

from pathlib import Path

from tools import bash, fish, manual, reference, zsh
from tools.source import ROOT


def files() -> dict[Path, str]:
    """What is written, by path below the project's root."""
    return {
        Path("completions", "shardctl.bash"): bash.script(),
        Path("completions", "_shardctl"): zsh.script(),
        Path("completions", "shardctl.fish"): fish.script(),
        Path("docs", "reference.md"): reference.page(),
        **{Path("man", name): text for name, text in manual.pages().items()},
    }


def main() -> None:
    """Write every file."""
    for path, text in files().items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
