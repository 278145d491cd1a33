"""What texts below the CLI advise, in terms of the command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardctl.cli.guidance.remedies import SPELLINGS, spelled, spelled_finding
from shardctl.errors import UsageError
from shardctl.findings import Finding
from shardctl.planning.request import (
    Limits,
    Request,
    option_differences,
    options_of,
    parse_limits,
)
from tests.support.program import ROOT
from tools import source

#: What texts quote besides settings and functions of our own: code, and other programs.
OTHERS = {
    *(
        "bunzip2",
        "git lfs pull",
        "gunzip",
        "tar -xf",
        "7z x",
        "ulimit -f",
        "ulimit -n",
        "unxz",
        "unzstd",
    ),
    *(
        "_metadata",
        "latest",
        "dequantize()",
        "model.state_dict()",
        "module.state_dict()",
        "resolve_conj()",
    ),
    *("full_tensor()", "map_location", "resolve_neg()", "to_dense()", "torch.from_numpy"),
    *("torch.load", "weights_only=False", "weights_only=True", "consolidate_safetensors_files"),
    "torch.save(torch.load(old, weights_only=False), new)",
    "{str(key): value for key, value in state.items()}",
}
#: How the commands of other programs, and code for them, begin.
FOREIGN = (
    *("aws s3 cp ", "curl ", "dask ", "gcloud storage cp ", "hf ", "mkdir ", "python -m "),
    *("from_pretrained(", "safetensors.numpy.save_file("),
)
QUOTED = re.compile("`([^`]+)`")


def quoted(path: Path) -> Iterator[str]:
    """What the texts of a module quote; docstrings are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    statements = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and node not in statements
            and isinstance(node.value, str)
        ):
            yield from QUOTED.findall(node.value)


def test_whatever_is_quoted_is_known() -> None:
    """A setting that a text below the CLI names has a spelling, and each spelling is needed."""
    package = ROOT / "shardctl"
    # No command uses what is only for programs.
    others = {package / "cli", package / "torch", package / "api"}
    paths = [path for path in package.rglob("*.py") if others.isdisjoint(path.parents)]
    found = {text for path in paths for text in quoted(path)}
    ours = {text for text in found - OTHERS if not text.startswith(FOREIGN)}
    assert ours <= set(SPELLINGS)
    # These are put together from names, in `planning.request` and `commands.preparing.defaults`.
    made = {*("single", "name", "variant", "order", "tied", "layout", "experts"), *found}
    assert set(SPELLINGS) <= made


def test_what_is_spelled_exists() -> None:
    """Every option and command in the table is one of the program."""
    commands = {command.name: command for command in source.commands()}
    everywhere = {
        each for command in commands.values() for o in command.options for each in o.flags
    }
    for text in SPELLINGS.values():
        name = re.match("`shardctl ([a-z]+)", text)
        options = set(re.findall("--[a-z-]+", text))
        if name is None:
            assert options
            assert options <= everywhere
        else:
            assert options <= {each for o in commands[name[1]].options for each in o.flags}


def test_settings_become_options() -> None:
    """What is in the table is replaced, and any other quoted text stays."""
    text = 'add `replace="same"`, run `reindex`, or raise `ulimit -n`'
    assert spelled(text) == "add --replace, run `shardctl index`, or raise `ulimit -n`"


def test_a_finding_keeps_its_other_fields() -> None:
    """Only the message and the hint of a finding change."""
    finding = Finding("c", "note", "`load` failed", "leave out `load`", "f", "t", 3)
    assert spelled_finding(finding) == Finding(
        "c", "note", "--load failed", "leave out --load", "f", "t", 3
    )


def test_recorded_options_have_spellings() -> None:
    """Each option that a journal records is said as an option, or in words."""
    options = {**options_of(Request(Limits(), "bin", ".bin", "model")), "checksums": False}
    for name in options:
        (difference,) = option_differences(options, {**options, name: "other"})
        assert spelled(difference).startswith(("--", "the target's file name was"))


def test_options_that_exclude_each_other_are_spelled() -> None:
    """Limits that cannot be used together are named by their options."""
    with pytest.raises(UsageError) as caught:
        parse_limits(max_shard_size="5GB", num_shards=2, single=True, strict_size=False)
    assert spelled(caught.value.message).startswith(
        "--max-shard-size and --num-shards and --single"
    )
