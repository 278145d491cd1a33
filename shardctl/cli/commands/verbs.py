"""The commands that there are, and what each does.

A command and its options are imported when it is typed, or when its own help is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

_READERS, _WRITERS = "shardctl.cli.commands.readers", "shardctl.cli.commands.writers"
_APPLYING = "shardctl.cli.commands.apply"


class Verb(NamedTuple):
    """A command: what it does, an example, and the module that has a function of its name."""

    summary: str
    example: str
    module: str

    @property
    def help(self) -> str:
        """The text from which the help and the manual are made."""
        return f"{self.summary}\n\nExample: {self.example}"

    def function(self, name: str) -> Callable[..., None]:
        """Return the function whose parameters are the command's options."""
        found: Callable[..., None] = getattr(import_module(self.module), name)
        return found


#: Every command, in the order in which the help lists them.
VERBS = {
    "split": Verb(
        "Divide a checkpoint into shards of limited size, with an index.",
        "shardctl split model/ sharded/ --max-shard-size 2GB",
        _WRITERS,
    ),
    "merge": Verb(
        "Join the shards of a checkpoint into one file.",
        "shardctl merge sharded/ model.safetensors",
        _WRITERS,
    ),
    "reshard": Verb(
        "Change a checkpoint's shards, its format, or both.",
        "shardctl reshard old/ new/ --to safetensors --max-shard-size 5GB",
        _WRITERS,
    ),
    "apply": Verb(
        "Write what a saved plan says, on any machine.",
        "shardctl apply plan.json --target out/",
        _APPLYING,
    ),
    "inspect": Verb(
        "Show what a checkpoint holds, from its headers: files, dtypes, layers, tensors.",
        "shardctl inspect sharded/ --depth 3",
        _READERS,
    ),
    "diff": Verb(
        "Show what differs between two checkpoints, byte for byte; exit with 1 if anything does.",
        "shardctl diff model.safetensors sharded/",
        _READERS,
    ),
    "verify": Verb(
        "Check a checkpoint: headers, index, checksums, or against another one.",
        "shardctl verify sharded/ --deep",
        _READERS,
    ),
    "index": Verb(
        "Write or repair the index, from the headers of the shards.",
        "shardctl index sharded/",
        _READERS,
    ),
    "completion": Verb(
        "Print the completion script for a shell.",
        "shardctl completion bash",
        _READERS,
    ),
}
