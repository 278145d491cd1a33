"""A format that is added from outside, through the registry alone, works in every command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from shardctl.cli.app import app
from shardctl.cli.exits import run
from shardctl.commands.index import reindex
from shardctl.commands.inspect import inspect
from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.write import write
from shardctl.engine.run import RunOptions
from shardctl.errors import UsageError
from shardctl.formats.registry import register, unregister
from shardctl.planning.request import Limits, WriteOptions
from shardctl.stores.local.store import LocalStore
from shardctl.verify.run import Thoroughness, Verdict, verify
from tests.support.observers import Counting
from tests.toy.format import TOY

#: Tensors of several dtypes and shapes, in the order in which safetensors writes them.
TENSORS = {
    "ids": torch.arange(6),
    "layers.0": torch.arange(12.0).reshape(3, 4),
    "layers.1": torch.tensor(3.5),
    "ü \n[x]": torch.ones(2, 2, dtype=torch.float16),
    "empty": torch.empty(0, 2, dtype=torch.uint8),
}
INTO_THREE = Limits(num_shards=3)


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    """The toy format, registered for one test."""
    register(TOY)
    yield
    unregister("toy")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A safetensors file of those tensors."""
    path = tmp_path / "source.safetensors"
    save_file(TENSORS, path, metadata={"format": "pt"})
    return path


def convert(source: Path, target: Path, options: WriteOptions) -> list[str]:
    """Write a checkpoint in the target; returns the notes about it."""
    store = LocalStore()
    prepared = prepare(store, str(source), store, str(target), options, finish=True)
    write(store, store, prepared, RunOptions(jobs=1), Counting())
    return list(prepared.notes)


def check(source: Path, **how: Any) -> Verdict:
    """What verify finds."""
    return verify(LocalStore(), str(source), Thoroughness(**how))


def names(directory: Path) -> set[str]:
    """The names of the files in a directory that are not hidden."""
    return {path.name for path in directory.iterdir() if not path.name.startswith(".")}


def test_splits_and_merges(source: Path, tmp_path: Path) -> None:
    """A checkpoint goes into toy shards and back into one safetensors file with the same bytes."""
    shards, whole, back = tmp_path / "shards", tmp_path / "whole.toy", tmp_path / "b.safetensors"
    convert(source, shards, WriteOptions(limits=INTO_THREE, format="toy"))
    assert names(shards) == {
        "model.toy.index.json",
        *(f"model-0000{number}-of-00003.toy" for number in (1, 2, 3)),
    }
    convert(shards, whole, WriteOptions(limits=Limits()))
    assert whole.read_bytes().startswith(b"TOY1 ")
    convert(shards, back, WriteOptions(limits=Limits()))
    assert back.read_bytes() == source.read_bytes()


def test_reshards_in_either_direction(source: Path, tmp_path: Path) -> None:
    """A toy checkpoint can be resharded, and converted to safetensors or a torch file."""
    toy, two, torch_file = tmp_path / "toy", tmp_path / "two", tmp_path / "m.bin"
    convert(source, toy, WriteOptions(limits=INTO_THREE, format="toy"))
    convert(toy, two, WriteOptions(limits=Limits(num_shards=2)))
    assert len(list(two.glob("*.toy"))) == 2
    convert(two, tmp_path / "st", WriteOptions(limits=INTO_THREE, format="safetensors"))
    loaded: dict[str, torch.Tensor] = {}
    for shard in sorted((tmp_path / "st").glob("*.safetensors")):
        loaded |= load_file(shard)
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {
        name: tensor.tolist() for name, tensor in TENSORS.items()
    }
    convert(two, torch_file, WriteOptions(limits=Limits()))
    assert check(torch_file, against=str(source), deep=True).ok


def test_tied_tensors_have_bytes_each(tmp_path: Path) -> None:
    """A format without metadata or shared storages writes every name of tied tensors."""
    tied = torch.arange(4.0)
    torch.save({"embed": tied, "head": tied, "turned": tied.reshape(2, 2).t()}, tmp_path / "m.bin")
    convert(tmp_path / "m.bin", tmp_path / "m.toy", WriteOptions(limits=Limits()))
    shown = inspect(LocalStore(), str(tmp_path / "m.toy"), key=None)
    assert [tensor.name for tensor in shown.tensors] == ["embed", "head", "turned"]
    assert shown.total_size == 3 * 16
    assert check(tmp_path / "m.toy", against=str(tmp_path / "m.bin"), deep=True).ok


def test_metadata_that_has_no_room_is_named(tmp_path: Path) -> None:
    """What the format cannot hold is said before the work."""
    save_file(TENSORS, tmp_path / "m.safetensors", metadata={"format": "pt", "author": "x"})
    options = WriteOptions(limits=Limits())
    (note,) = convert(tmp_path / "m.safetensors", tmp_path / "m.toy", options)
    assert note == "left out (a .toy file has no room for metadata): author (1 B)"


def test_is_inspected_and_verified(source: Path, tmp_path: Path) -> None:
    """Inspect shows the format; verify checks headers, all bytes, and another checkpoint."""
    convert(source, tmp_path / "toy", WriteOptions(limits=INTO_THREE, format="toy"))
    shown = inspect(LocalStore(), str(tmp_path / "toy"), key=None)
    assert shown.checkpoint.format == "toy"
    assert {tensor.name for tensor in shown.tensors} == set(TENSORS)
    for how, codes in (
        ({}, []),
        ({"deep": True}, ["content-unchecked"]),
        ({"deep": True, "against": str(source)}, []),
    ):
        found = check(tmp_path / "toy", **how)
        assert [finding.code for finding in found.findings] == codes
        assert (found.files, found.tensors) == (3, len(TENSORS))
    with pytest.raises(UsageError, match="'toy' has no upstream loader"):
        check(tmp_path / "toy", load=True)


def test_damage_is_found(source: Path, tmp_path: Path) -> None:
    """What its reader reports, and what the index and other tensors say, are findings."""
    toy = tmp_path / "toy"
    convert(source, toy, WriteOptions(limits=INTO_THREE, format="toy"))
    shard = toy / "model-00002-of-00003.toy"
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + b"\xff")
    assert check(toy).ok
    assert {found.code for found in check(toy, deep=True, against=str(source)).findings} == {
        "against-data"
    }
    shard.write_bytes(data[:-1])
    found = check(toy).findings[0]
    assert (found.code, found.file) == ("header-invalid", str(shard))
    shard.unlink()
    found = check(toy).findings[0]
    assert (found.code, found.file) == ("index-shard-missing", str(shard))


def test_its_index_is_written_and_lists_only_its_files(source: Path, tmp_path: Path) -> None:
    """A lost index is made from the headers, and one that leads to another format is refused."""
    toy = tmp_path / "toy"
    convert(source, toy, WriteOptions(limits=INTO_THREE, format="toy"))
    index = toy / "model.toy.index.json"
    data = index.read_bytes()
    index.unlink()
    assert [found.code for found in check(toy).findings] == ["index-missing"]
    reindex(LocalStore(), str(toy), check=False)
    assert index.read_bytes() == data
    index.write_bytes(data.replace(b"00001-of-00003.toy", b"00001-of-00003.bin"))
    assert "shard-name-unsafe" in {found.code for found in check(toy).findings}


def test_works_on_the_command_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--to`, targets, help and documents know the format like the others."""

    def cli(*arguments: object) -> str:
        code = run(app, [str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert code == 0, err
        return out

    toy = tmp_path / "toy"
    assert "--to safetensors|bin|dcp|toy" in cli("split", "--help")
    printed = cli("split", source, toy, "--num-shards", 2, "--to", "toy", "-q")
    assert printed == f"{toy / 'model.toy.index.json'}\n"
    assert json.loads(cli("inspect", toy, "--json"))["container"] == "toy"
    assert json.loads(cli("verify", toy, "--deep", "--against", source, "--json"))["ok"]
    assert cli("merge", toy, tmp_path / "m.toy", "-q") == f"{tmp_path / 'm.toy'}\n"
    cli("reshard", tmp_path / "m.toy", tmp_path / "st", "--to", "safetensors", "-q")
    assert (tmp_path / "st/model.safetensors").read_bytes() == source.read_bytes()
    assert run(app, ["reshard", str(toy), str(tmp_path / "x"), "--to", "gguf"]) == 2
    assert "takes one of safetensors, bin, dcp, toy, not 'gguf'" in capsys.readouterr().err
