"""The completions: what is committed is what is generated, and each shell offers what makes sense
there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.cli.shells import SHELLS, Offers
from tests.support.program import ROOT
from tools import generate, source, values

COMMANDS = {command.name: command for command in source.commands() if command.name}
FILES = (
    "model.safetensors",
    "old.bin",
    "last.ckpt",
    "model.safetensors.index.json",
    "model.safetensors.index.fp16.json",
)
OTHERS = ("config.json", "notes.txt", "old.html")
DIRECTORIES = ("weights", "with space")

#: A line up to the cursor, what is offered there, and what is not.
LINES: dict[str, tuple[set[str], set[str]]] = {
    "shardctl ": (set(COMMANDS), {"notes.txt", "weights"}),
    "shardctl sp": ({"split"}, {"merge"}),
    "shardctl he": ({"help"}, {"merge"}),
    "shardctl help ": (set(COMMANDS), {"weights", "notes.txt"}),
    "shardctl help sp": ({"split"}, {"merge"}),
    "shardctl help split ": (set(), {"weights", "split", "merge"}),
    "shardctl --": ({"--help", "--version"}, {"--to"}),
    "shardctl split --": (
        {"--max-shard-size", "--to", "--no-companions", "--dry-run"},
        {"--single", "--deep"},
    ),
    "shardctl split --num": ({"--num-shards"}, {"--to"}),
    "shardctl merge --": (
        {"--to", "--replace"},
        {"--max-shard-size", "--num-shards", "--strict-size"},
    ),
    "shardctl verify --": ({"--deep", "--against", "--strict"}, {"--to", "--replace"}),
    "shardctl split --to ": ({"safetensors", "bin"}, {"weights", "model.safetensors"}),
    "shardctl split --to s": ({"safetensors"}, {"bin"}),
    "shardctl reshard --order ": ({"source", "natural"}, set()),
    "shardctl reshard --tied ": ({"share", "expand"}, set()),
    "shardctl reshard --companions ": ({"auto", "all", "none"}, set()),
    "shardctl reshard --layout ": ({"auto", "compact", "reflink"}, {"shareable"}),
    "shardctl split --progress ": ({"auto", "plain", "json", "none"}, {"weights"}),
    **{
        f"shardctl {name} --progress ": ({"plain", "json"}, {"weights"})
        for name in ("inspect", "verify", "index")
    },
    "shardctl split --max-shard-size ": (set(values.SIZES), {"weights"}),
    "shardctl split --max-shard-size 5": ({"500MB", "5GB", "50GB"}, {"200MB"}),
    "shardctl split --num-shards ": (set(), {"weights", "200MB"}),
    "shardctl inspect --report ": ({"old.html", "weights"}, {"notes.txt", "model.safetensors"}),
    "shardctl completion ": ({"bash", "zsh", "fish"}, {"weights", "notes.txt"}),
    "shardctl completion f": ({"fish"}, {"bash"}),
    "shardctl split --name ": ({"model", "pytorch_model"}, {"weights"}),
    # Of a group only one, and nothing twice, in no spelling.
    "shardctl reshard --single --": ({"--to"}, {"--single", "--num-shards", "--max-shard-size"}),
    "shardctl reshard --num-shards 2 --": (
        {"--to"},
        {"--single", "--num-shards", "--max-shard-size"},
    ),
    "shardctl reshard --max-shard-size 2GB --": (
        {"--to"},
        {"--single", "--num-shards", "--max-shard-size"},
    ),
    "shardctl split -n --no-companions --json --": (
        {"--to"},
        {"--dry-run", "--no-companions", "--json"},
    ),
    # Arguments, also after options and their values.
    "shardctl split ": ({*FILES, "weights"}, set(OTHERS)),
    "shardctl split m": (
        {"model.safetensors", "model.safetensors.index.json"},
        {"old.bin", "config.json"},
    ),
    "shardctl split --to bin --json ": ({*FILES, "weights"}, {"bin", *OTHERS}),
    "shardctl split old.bin ": (set(DIRECTORIES), {*FILES, *OTHERS}),
    "shardctl split --num-shards 2 old.bin ": ({"weights"}, {*FILES, *OTHERS}),
    "shardctl merge weights ": (
        {"weights", "model.safetensors", "old.bin"},
        {"last.ckpt", *OTHERS},
    ),
    "shardctl split old.bin weights ": (set(), {"weights", *FILES}),
    "shardctl verify --against ": ({*FILES, "weights"}, set(OTHERS)),
    "shardctl verify old.bin --against w": ({"weights"}, {"old.bin"}),
    "shardctl inspect -- ": ({*FILES, "weights"}, set(OTHERS)),
}
#: Lines of which the shells show the offers differently, but all offer the value.
WITH_EQUALS = {"shardctl split --to=s": "safetensors", "shardctl split --max-shard-size=2": "200MB"}


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Offers]:
    """`ask(shell)` gives that shell's offers for all lines; skips where it is not installed."""

    @cache
    def offers(shell: str) -> Offers:
        directory: Path = tmp_path_factory.mktemp(shell) / "here"
        for name in DIRECTORIES:
            (directory / name).mkdir(parents=True)
        for name in (*FILES, *OTHERS):
            (directory / name).write_text("")
        return SHELLS[shell]([*LINES, *WITH_EQUALS], directory)

    def installed(shell: str) -> Offers:
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        return offers(shell)

    return installed


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line", LINES)
def test_what_a_shell_offers(ask: Callable[[str], Offers], shell: str, line: str) -> None:
    """At the end of each line there is what fits there, and nothing that does not."""
    offered = ask(shell)[line]
    wanted, unwanted = LINES[line]
    assert wanted <= offered, sorted(offered)
    assert not unwanted & offered, sorted(offered)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line", WITH_EQUALS)
def test_a_value_after_an_equals_sign(ask: Callable[[str], Offers], shell: str, line: str) -> None:
    """`--option=` is completed as `--option ` is."""
    assert WITH_EQUALS[line] in {word.rpartition("=")[2] for word in ask(shell)[line]}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_in_every_script(shell: str, command: str) -> None:
    """No script leaves out an option of a command."""
    text = (ROOT / "completions" / {"zsh": "_shardctl"}.get(shell, f"shardctl.{shell}")).read_text(
        encoding="utf-8"
    )
    spellings = [each for option in COMMANDS[command].options for each in option.spellings]
    forms = [
        f"-l {each[2:]}" if shell == "fish" and each.startswith("--") else each
        for each in spellings
    ]
    assert [form for form in forms if form not in text] == []


@pytest.mark.parametrize("path", sorted(generate.files()), ids=str)
def test_what_is_committed_is_what_is_generated(path: Path) -> None:
    """Completions, manual and reference say what the command line says; where not, `make generate`
    writes them again.
    """
    assert (ROOT / path).read_text(encoding="utf-8") == generate.files()[path]
