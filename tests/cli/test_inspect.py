"""inspect: rows in a pipe, one document with --json, headers only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.program import RunCli
from tests.support.safetensors_files import TENSOR_BYTES, plain_directory, write_floats
from tests.support.state_dicts import write_torch

HEADER = ["name", "dtype", "shape", "nbytes", "file", "offset", "tied_to"]


def rows(text: str) -> list[list[str]]:
    """The tab-separated rows below the header."""
    header, *found = [line.split("\t") for line in text.split("\n")[:-1]]
    assert header == HEADER
    return found


def test_rows(tmp_path: Path, run_cli: RunCli) -> None:
    """In a pipe there is one header row and one row a tensor, with absolute offsets."""
    directory = plain_directory(tmp_path / "m")
    found = rows(run_cli("inspect", directory).stdout)
    start = (directory / "model.safetensors").stat().st_size - 3 * TENSOR_BYTES
    assert found == [
        [name, "F32", "[100]", "400", "model.safetensors", str(start + number * TENSOR_BYTES), ""]
        for number, name in enumerate("abc")
    ]


def test_rows_escape_what_would_break_them(tmp_path: Path, run_cli: RunCli) -> None:
    """Backslash, TAB, LF, CR and control characters in names are escaped; brackets are not."""
    names = ["back\\slash", "tab\t", "line\n", "return\r", "esc\x1b[31m", "nul\x00", "[red]x[/red]"]
    write_floats(tmp_path / "model.safetensors", dict.fromkeys(names, 4))
    found = rows(run_cli("inspect", tmp_path / "model.safetensors").stdout)
    assert [row[0] for row in found] == [
        r"back\\slash", r"tab\t", r"line\n", r"return\r", r"esc\x1b[31m", r"nul\x00",
        "[red]x[/red]",
    ]  # fmt: skip


@pytest.mark.parametrize("option", [("--depth", "2"), ("--top", "1")])
def test_rows_stay_rows(tmp_path: Path, run_cli: RunCli, option: tuple[str, str]) -> None:
    """No option turns a pipe into a drawing; --top keeps the largest tensors."""
    write_floats(tmp_path / "model.safetensors", {"small": 4, "large": 8})
    found = rows(run_cli("inspect", tmp_path, *option).stdout)
    assert [row[0] for row in found] == (["large"] if option[0] == "--top" else ["small", "large"])


def test_json(tmp_path: Path, run_cli: RunCli) -> None:
    """The document has the documented keys, in order, and sizes in bytes."""
    sharded = tmp_path / "s"
    run_cli("split", plain_directory(tmp_path / "m"), sharded, "--max-shard-size", "800")
    done = run_cli("inspect", "s", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert list(document) == [
        "schema_version", "command", "source", "container", "index", "total_size",
        "total_parameters", "metadata", "files", "tensors", "non_tensors", "warnings",
    ]  # fmt: skip
    assert [list(file) for file in document["files"]] == [
        ["name", "size", "tensors", "data_size"]
    ] * 2
    assert [list(tensor) for tensor in document["tensors"]] == [HEADER] * 3
    assert (document["source"], document["container"]) == ("s", "safetensors")
    assert document["index"] == "model.safetensors.index.json"
    assert (document["total_size"], document["total_parameters"]) == (1200, 300)
    assert document["metadata"] == {"format": "pt"}
    assert [file["data_size"] for file in document["files"]] == [800, 400]
    assert document["tensors"][0]["shape"] == [100]
    assert document["tensors"][0]["tied_to"] is None
    assert document["non_tensors"] == []
    largest = run_cli("inspect", "s", "--json", "--top", 1, cwd=tmp_path)
    assert len(json.loads(largest.stdout)["tensors"]) == 1
    assert len(json.loads(largest.stdout)["files"]) == 2


def test_offsets_lead_to_the_bytes(tmp_path: Path, run_cli: RunCli) -> None:
    """`offset` is absolute in both formats: the bytes there are the tensor's."""
    import torch

    weight = torch.arange(8, dtype=torch.int32)
    paths = [write_torch(tmp_path / "pytorch_model.bin", {"w": weight, "v": weight[2:]})]
    run_cli("reshard", paths[0], tmp_path / "out", "--to", "safetensors")
    paths.append(tmp_path / "out" / "model.safetensors")
    for path in paths:
        for tensor in json.loads(run_cli("inspect", path, "--json").stdout)["tensors"]:
            at = tensor["offset"]
            first = 2 if tensor["name"] == "v" else 0
            held = path.read_bytes()[at : at + tensor["nbytes"]]
            assert held == b"".join(number.to_bytes(4, "little") for number in range(first, 8))
            assert tensor["dtype"] == "I32"


def test_ties_are_named(tmp_path: Path, run_cli: RunCli) -> None:
    """A tied tensor names what it is tied to, and its bytes are counted once."""
    import torch

    weight = torch.ones(4)
    path = write_torch(tmp_path / "pytorch_model.bin", {"a": weight, "z": weight})
    document = json.loads(run_cli("inspect", path, "--json").stdout)
    assert {tensor["name"]: tensor["tied_to"] for tensor in document["tensors"]} == {
        "a": None,
        "z": "a",
    }
    assert (document["total_size"], document["total_parameters"]) == (16, 4)


def test_nested_dictionaries_are_shown(tmp_path: Path, run_cli: RunCli) -> None:
    """Without --key what is nested has dotted names; with it only that dictionary is shown."""
    import torch

    path = write_torch(
        tmp_path / "c.pt", {"model": {"w": torch.ones(2)}, "ema": {"w": torch.ones(3)}, "step": 1}
    )
    shown = [row[0] for row in rows(run_cli("inspect", path).stdout)]
    assert shown == ["model.w", "ema.w"]
    assert [row[0] for row in rows(run_cli("inspect", path, "--key", "ema").stdout)] == ["w"]


def test_filter(tmp_path: Path, run_cli: RunCli) -> None:
    """--filter, or its variable, keeps the names that match; none is 3, with what comes near."""
    directory = plain_directory(tmp_path / "m", ["layer.0.weight", "layer.1.weight", "head"])
    assert len(rows(run_cli("inspect", directory, "--filter", "layer.*").stdout)) == 2
    assert (
        len(rows(run_cli("inspect", directory, env={"SHARDCTL_INSPECT_FILTER": "head"}).stdout))
        == 1
    )
    assert "head" in run_cli("inspect", directory, "--filter", "heat", code=3).stderr


def test_a_named_shard_is_looked_at_alone(tmp_path: Path, run_cli: RunCli) -> None:
    """Inspect takes the file that was named, and not the set it belongs to."""
    run_cli("split", plain_directory(tmp_path / "m"), tmp_path / "s", "--max-shard-size", "400")
    found = rows(run_cli("inspect", tmp_path / "s" / "model-00002-of-00003.safetensors").stdout)
    assert [row[0] for row in found] == ["b"]


def test_content_says_what_a_file_is(tmp_path: Path, run_cli: RunCli) -> None:
    """A safetensors file named .bin, and a torch file named .pth, are read as what they are."""
    import torch

    write_floats(tmp_path / "a" / "pytorch_model.bin", {"w": 4})
    write_torch(tmp_path / "b" / "net.pth", {"w": torch.ones(1)})
    for directory, format_name in (("a", "safetensors"), ("b", "bin")):
        assert (
            json.loads(run_cli("inspect", tmp_path / directory, "--json").stdout)["container"]
            == format_name
        )


def test_training_state_is_not_a_candidate(tmp_path: Path, run_cli: RunCli) -> None:
    """An optimizer beside the weights does not make a directory ambiguous."""
    directory = plain_directory(tmp_path / "m")
    for name in (
        "optimizer.bin",
        "scheduler.pt",
        "rng_state.pth",
        "training_args.bin",
        "scaler.pt",
    ):
        (directory / name).write_bytes(b"whatever")
    assert len(rows(run_cli("inspect", directory).stdout)) == 3


def test_a_damaged_set_is_shown_with_a_warning(tmp_path: Path, run_cli: RunCli) -> None:
    """What is left of a set is printed, and what is missing is a warning on stderr."""
    sharded = tmp_path / "s"
    run_cli("split", plain_directory(tmp_path / "m"), sharded, "--max-shard-size", "800")
    (sharded / "model-00002-of-00002.safetensors").unlink()
    done = run_cli("inspect", sharded)
    assert len(done.stdout.splitlines()) == 3
    assert "warning: " in done.stderr
    assert "model-00002-of-00002.safetensors': listed in the index but missing" in done.stderr
    (warning,) = json.loads(run_cli("inspect", tmp_path / "s", "--json").stdout)["warnings"]
    assert "listed in the index but missing" in warning


def test_statistics(tmp_path: Path, run_cli: RunCli) -> None:
    """With --stats the rows and the document have the numbers of the tensors that are shown."""
    write_floats(tmp_path / "model.safetensors", {"small": 4, "large": 8})
    header, *found = run_cli("inspect", tmp_path, "--stats", "--top", 1).stdout.splitlines()
    assert header.split("\t") == [*HEADER, "min", "max", "mean", "nan", "inf", "zeros"]
    (tensor,) = json.loads(run_cli("inspect", tmp_path, "--stats", "--top", 1, "--json").stdout)[
        "tensors"
    ]
    assert [row.split("\t")[0] for row in found] == [tensor["name"]] == ["large"]
    numbers = tensor["statistics"]
    assert found[0].split("\t")[7:] == [str(number) for number in numbers.values()]
    assert numbers["min"] <= numbers["mean"] <= numbers["max"]


def test_statistics_of_what_is_no_number(tmp_path: Path, run_cli: RunCli) -> None:
    """A tensor of integers has empty fields, and null in the document."""
    import torch

    path = tmp_path / "pytorch_model.bin"
    write_torch(path, {"n": torch.arange(3)})
    _, row = run_cli("inspect", path, "--stats").stdout.splitlines()
    assert row.split("\t")[7:] == [""] * 6
    document = json.loads(run_cli("inspect", path, "--stats", "--json").stdout)
    assert document["tensors"][0]["statistics"] is None


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_tensors_of_nan_are_seen(tmp_path: Path, run_cli: RunCli, columns: int) -> None:
    """On a terminal a tensor that is nothing but NaN comes first, and all of it is NaN."""
    import torch

    path = tmp_path / "pytorch_model.bin"
    write_torch(path, {"sound": torch.ones(3), "broken": torch.full((3,), float("nan"))})
    environment = {"FORCE_COLOR": "1", "TERM": "dumb", "COLUMNS": str(columns)}
    shown = run_cli("inspect", path, "--stats", env=environment).stdout.partition("numbers")[2]
    assert shown.index("broken") < shown.index("all") < shown.index("sound")
    assert max(map(len, shown.splitlines())) <= columns
