"""The start: what a short run imports, for a program that waits for imports feels slow whatever it
does then.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import ROOT
from tests.support.safetensors_files import write_floats

#: What every run needs besides the standard library: Typer, and what Typer imports.
ALWAYS = {"shardctl", "typer", "annotated_doc", "shellingham"}
#: For each line, the packages besides those that it may import.
LINES: dict[str, set[str]] = {
    "--version": set(),
    "--help": set(),
    "split --help": set(),
    "inspect small.safetensors": set(),
    "inspect small.safetensors --json": set(),
    # Sizes are read by humanfriendly, the state directory is found by platformdirs.
    "split small.safetensors small/out": {"humanfriendly", "platformdirs"},
}
#: Modules of the standard library that cost much, and that no short run has a use for.
HEAVY = {
    *(
        "asyncio",
        "concurrent",
        "ctypes",
        "doctest",
        "email",
        "ftplib",
        "html",
        "http",
        "logging",
        "multiprocessing",
    ),
    *(
        "pdb",
        "pydoc",
        "socket",
        "sqlite3",
        "ssl",
        "tarfile",
        "tempfile",
        "unittest",
        "xml",
        "xmlrpc",
        "zipfile",
    ),
}
#: Parts of our own that only work on data needs, by the line that has no use for them.
OWN = {
    "--version": {
        *("shardctl.commands", "shardctl.engine", "shardctl.formats", "shardctl.cli.guidance.help"),
        *(
            "shardctl.cli.commands.apply",
            "shardctl.cli.commands.readers",
            "shardctl.cli.commands.writers",
        ),
        "shardctl.cli.options.shared",
    },
    "--help": {
        *("shardctl.commands", "shardctl.engine", "shardctl.formats", "shardctl.model"),
        *(
            "shardctl.cli.commands.apply",
            "shardctl.cli.commands.readers",
            "shardctl.cli.commands.writers",
        ),
        "shardctl.cli.options.shared",
    },
    # Help asks the registry which formats there are, and needs no more of them.
    "split --help": {
        *("shardctl.commands", "shardctl.engine", "shardctl.model", "shardctl.naming"),
        *("shardctl.formats.detection", "shardctl.formats.safetensors.reader"),
        *("shardctl.cli.commands.apply", "shardctl.cli.commands.readers"),
    },
    "inspect small.safetensors": {
        *("shardctl.commands.write", "shardctl.engine.journal", "shardctl.engine.run"),
        *("shardctl.planning", "shardctl.verify"),
        *("shardctl.view", "shardctl.report", "shardctl.layout"),
        *("shardctl.formats.safetensors.writer", "shardctl.formats.torch.zip"),
        *("shardctl.formats.torch.legacy", "shardctl.formats.pickle", "shardctl.formats.index"),
        *(
            "shardctl.formats.foreign",
            "shardctl.source.directory.contents",
            "shardctl.stores.elsewhere",
        ),
        "shardctl.stores.remote",
        *("shardctl.cli.output.documents", "shardctl.cli.terminal"),
        *("shardctl.cli.commands.apply", "shardctl.cli.commands.writers"),
    },
    "split small.safetensors small/out": {
        *("shardctl.cli.commands.apply", "shardctl.cli.commands.readers", "shardctl.cli.terminal"),
        *("shardctl.view", "shardctl.report", "shardctl.commands.saved.planned"),
        *(
            "shardctl.planning.transform.cast",
            "shardctl.planning.transform.experts",
            "shardctl.planning.grouping.layers",
        ),
        *("shardctl.source.directory.contents", "tomllib"),
        *("shardctl.stores.remote", "shardctl.verify", "shardctl.formats.torch.zip"),
        "shardctl.formats.pickle",
    },
}
# What the interpreter itself, or a file of `site`, has imported before does not count.
_PROGRAM = """
import sys
before = set(sys.modules)
import atexit, json
atexit.register(lambda: print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr))
from shardctl.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The modules that each line imports, run by a new interpreter with its output in a pipe."""
    directory = tmp_path_factory.mktemp("start")
    write_floats(directory / "small.safetensors", {"a": 4})
    return {line: _imported_by(line, directory) for line in LINES}


def _imported_by(line: str, directory: Path) -> set[str]:
    words = [str(directory / word) if word.startswith("small") else word for word in line.split()]
    command = [sys.executable, "-c", _PROGRAM, *words]
    environment = {**os.environ, "XDG_STATE_HOME": str(directory / "state")}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("line", LINES)
def test_only_these_packages(imported: dict[str, set[str]], line: str) -> None:
    """A short run imports Typer, and what the line names, and nothing else that is not the standard
    library's.
    """
    packages = {name.partition(".")[0] for name in imported[line]}
    assert packages - sys.stdlib_module_names - ALWAYS == LINES[line]


@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith("split small")])
def test_no_heavy_module(imported: dict[str, set[str]], line: str) -> None:
    """No short run imports a part of the standard library that is heavy."""
    assert {name.partition(".")[0] for name in imported[line]} & HEAVY == set()


@pytest.mark.parametrize("line", OWN)
def test_only_the_rooms_that_it_needs(imported: dict[str, set[str]], line: str) -> None:
    """A run imports nothing of what it does not do: other commands, what was not asked for."""
    assert imported[line] & OWN[line] == set()
