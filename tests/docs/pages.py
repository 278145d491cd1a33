"""The examples in the documentation: a page's blocks, how they run, and whether the output is
right.

A block of `console` has commands after `$ ` and what they print; one of `sh` is a script; one of
`python` has statements after `>>> ` and what they print, for one interpreter in each directory. A
comment right before a block directs its test:

    <!-- not run: the reason -->        the block is only shown
    <!-- file: NAME -->                 the block is written to a file
    <!-- before: commands -->           it starts again, in a fresh directory, after these commands
    <!-- stand-in: 2GB = 100KB -->      the test uses the second; numbers of the output may differ

A block without `before` goes on in the directory of the block above it. In the output `…` is any
text, alone on a line any lines; blank lines and how long something took are not compared.
"""

from __future__ import annotations

import doctest
import os
import pty
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.session import Session, session
from tests.support.terminals import until_closed

LANGUAGES = ("console", "sh", "python")
_BLOCK = re.compile(
    r"(?P<comments>(?:<!--(?:(?!-->).)*-->\s*)*)^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)
_COMMAND = re.compile(
    r"^\$ (?P<command>(?:[^\n]*\\\n)*[^\n]*)\n(?P<output>(?:(?!\$ )[^\n]*\n)*)", re.MULTILINE
)
_COMMENT = re.compile(r"<!--\s*(before|file|not run|stand-in):\s*(.*?)\s*-->", re.DOTALL)
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_BAR = "[█▉▊▋▌▍▎▏▓·]"
_NUMBER = r"\d[\d,.]*(?: [KMGT]?B)?"


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a page, and what the comments before it say."""

    page: str
    heading: str
    language: str
    text: str
    directives: Mapping[str, str]

    @property
    def is_run(self) -> bool:
        """Whether the block is an example that is tested."""
        return self.language in LANGUAGES and "not run" not in self.directives

    @property
    def substitutes(self) -> dict[str, str]:
        """What is put in the place of what."""
        pairs = filter(
            None, (pair.strip() for pair in self.directives.get("stand-in", "").split(";"))
        )
        return {
            name.strip(): value.strip()
            for name, value in (pair.split("=") for pair in pairs if "=" in pair)
        }


@dataclass(frozen=True, slots=True)
class Example:
    """One command and the output that the page shows."""

    command: str
    output: str


@dataclass(slots=True)
class Scene:
    """Blocks that run one after another in one directory, and the commands that prepare it."""

    page: str
    heading: str
    before: str
    blocks: list[Block] = field(default_factory=list)


def blocks(page: Path, root: Path) -> Iterator[Block]:
    """The blocks of a page that have a language, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        headings = _HEADING.findall(_FENCED.sub("", text[: match.start()]))
        yield Block(
            page=str(page.relative_to(root)),
            heading=headings[-1] if headings else "",
            language=match["language"],
            text=match["text"],
            directives=dict(_COMMENT.findall(match["comments"])),
        )


def scenes(page: Path, root: Path) -> list[Scene]:
    """The tested blocks of a page, by the directory that they share."""
    found: list[Scene] = []
    for block in blocks(page, root):
        if block.is_run:
            if not found or "before" in block.directives:
                found.append(Scene(block.page, block.heading, block.directives.get("before", "")))
            found[-1].blocks.append(block)
    return found


def examples(block: Block) -> Iterator[Example]:
    """The commands of a console block, each with the lines below it. A backslash continues a
    command.
    """
    for match in _COMMAND.finditer(block.text):
        yield Example(match["command"], match["output"])


def filled(output: str) -> list[str]:
    """The lines that are not blank, without what is blank at their ends."""
    return [line.rstrip() for line in output.splitlines() if line.strip()]


def pattern(output: str, *, stand_in: bool) -> re.Pattern[str]:
    """What fits the output that a page shows, a line of it with its newline."""
    parts = []
    for line in filled(output):
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
            continue
        written = re.fullmatch(r"(wrote .* in) .*", line)
        text = re.escape(f"{written[1]} …" if written else line).replace("…", ".*")
        if stand_in:
            text = re.sub(r"\d(?:[\d,]|\\\.)*(?:\\ [KMGT]?B)?", lambda _: _NUMBER, text)
            text = re.sub(r"(?:\\ )+", " +", re.sub(f"{_BAR}+", f"{_BAR}+", text))
        parts.append(f"{text}\n")
    return re.compile("".join(parts))


class Shell:
    """Runs commands in one directory as a terminal of 120 columns would; nothing of the developer's
    own comes in.
    """

    def __init__(self, directory: Path, binaries: Path) -> None:
        self.directory = directory
        self._code = 0
        self.environment = {
            "PATH": os.pathsep.join([str(binaries), "/usr/local/bin", "/usr/bin", "/bin"]),
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "CI": "true",
        }

    def run(self, command: str) -> tuple[str, int]:
        """What a command prints to a terminal, both streams, and its exit code. `$?` is that of the
        one before.
        """
        master, slave = pty.openpty()
        script = f"(exit {self._code}); {command}"
        with os.fdopen(master, "rb", buffering=0) as terminal:
            process = subprocess.Popen(
                ["bash", "-c", script], cwd=self.directory, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
            )  # fmt: skip
            os.close(slave)
            printed = b"".join(until_closed(terminal.fileno()))
            self._code = process.wait()
        return _STYLE.sub("", printed.decode("utf-8").replace("\r\n", "\n")), self._code

    def script(self, text: str) -> None:
        """Run a script, and see that each of its commands succeeds."""
        output, code = self.run(f"bash -euo pipefail -c {shlex.quote(text)}")
        assert code == 0, f"exit code {code}\n{text}\n{output}"


def play(scene: Scene, shell: Shell) -> None:
    """Run a scene and compare. A command that fails must be followed by one that shows its exit
    code.
    """
    shell.script(scene.before)
    with session(shell.directory, shell.environment) as python:
        for block in scene.blocks:
            if "file" in block.directives:
                (shell.directory / block.directives["file"]).write_text(block.text)
            elif block.language == "sh":
                shell.script(_substituted(block.text, block))
            elif block.language == "python":
                _play_python(block, python)
            else:
                _play_console(block, shell)


def _play_console(block: Block, shell: Shell) -> None:
    shown = list(examples(block))
    for example, following in zip(shown, [*shown[1:], None], strict=True):
        output, code = shell.run(_substituted(example.command, block))
        _compare(block, f"$ {example.command}\n", example.output, output)
        expected = following is not None and "$?" in following.command
        assert code == 0 or expected, (
            f"{block.page}: {example.command} ended with {code}:\n{output}"
        )


def _play_python(block: Block, python: Session) -> None:
    for example in doctest.DocTestParser().get_examples(block.text):
        output = python.run(_substituted(example.source, block))
        _compare(block, f">>> {example.source}", example.want, output)


def _compare(block: Block, ran: str, shown: str, output: str) -> None:
    shows = _substituted(shown, block)
    printed = "".join(f"{line}\n" for line in filled(output))
    fits = pattern(shows, stand_in="stand-in" in block.directives).fullmatch(printed)
    what = f"{block.page}, {block.heading}\n{ran}"
    assert fits, f"{what}shows\n{shows}\nand printed\n{output}"


def _substituted(text: str, block: Block) -> str:
    for name, value in block.substitutes.items():
        text = text.replace(name, value)
    return text
