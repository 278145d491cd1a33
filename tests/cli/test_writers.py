"""split, merge and reshard: stdout, stderr, documents, and targets that must stay."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.program import RunCli
from tests.support.safetensors_files import TENSOR_BYTES, plain_directory, write_floats
from tests.support.state_dicts import load, write_torch

WRITER_KEYS = [
    "schema_version", "command", "done", "up_to_date", "source", "target", "loads_from",
    "container", "total_size", "max_shard_size", "plan_id", "shards", "oversize", "copied",
    "companions", "superseded", "not_carried", "damaged",
]  # fmt: skip
SHARD_KEYS = ["name", "size", "data_size", "tensors", "sha256"]
PLAN_KEYS = [
    "layout_version",
    "layout",
    "block_size",
    "options",
    "settings",
    "sources",
    "companions",
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with one file of three equal tensors, and a config."""
    return plain_directory(tmp_path / "source")


def names(directory: Path) -> list[str]:
    """The names in a directory, without the hidden ones."""
    return sorted(entry.name for entry in directory.iterdir() if not entry.name.startswith("."))


# stdout and stderr


@pytest.mark.parametrize(
    ("arguments", "loads_from"),
    [
        (("split", "--max-shard-size", "400"), "out/model.safetensors.index.json"),
        (("split",), "out/model.safetensors"),
        (("split", "--num-shards", "2"), "out/model.safetensors.index.json"),
        (("merge",), "out/model.safetensors"),
        (("reshard", "--to", "bin"), "out/pytorch_model.bin"),
        (("reshard", "--to", "bin", "--num-shards", "2"), "out/pytorch_model.bin.index.json"),
    ],
)
def test_stdout_is_the_path_that_a_loader_takes(
    source: Path, tmp_path: Path, run_cli: RunCli, arguments: tuple[str, ...], loads_from: str
) -> None:
    """A writer prints one line, the index or the single file; all else goes to stderr."""
    command, *options = arguments
    done = run_cli(command, source, "out", *options, cwd=tmp_path)
    assert done.stdout == f"{loads_from}\n"
    assert (tmp_path / loads_from).is_file()
    assert "wrote" in done.stderr


def test_merge_prints_the_file_as_it_was_named(
    source: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """A TARGET that is a file is printed as it was typed, and the suffix chooses the container."""
    done = run_cli("merge", source, "./one.bin", cwd=tmp_path)
    assert done.stdout == "./one.bin\n"
    assert (tmp_path / "one.bin").read_bytes()[:2] == b"PK"
    assert not (tmp_path / "config.json").exists()


def test_quiet_says_nothing_where_all_is_well(
    source: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """With -q the path is all that is printed."""
    done = run_cli("split", source, tmp_path / "out", "-q")
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


# documents


def test_json_has_the_documented_keys_in_order(
    source: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """The document of a run says what was written, in bytes, and nothing else is on stdout."""
    done = run_cli("split", source, "out", "--max-shard-size", "800", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert list(document) == WRITER_KEYS
    assert [list(shard) for shard in document["shards"]] == [SHARD_KEYS, SHARD_KEYS]
    assert list(document["copied"]) == ["kernel", "shared", "buffered"]
    assert {
        key: document[key] for key in ("schema_version", "command", "done", "target", "loads_from")
    } == {
        "schema_version": 1,
        "command": "split",
        "done": True,
        "target": "out",
        "loads_from": "out/model.safetensors.index.json",
    }
    assert (document["total_size"], document["max_shard_size"]) == (3 * TENSOR_BYTES, 800)
    assert [shard["tensors"] for shard in document["shards"]] == [["a", "b"], ["c"]]
    for shard in document["shards"]:
        assert (tmp_path / "out" / shard["name"]).stat().st_size == shard["size"]
    assert document["companions"] == ["config.json"]
    assert (document["oversize"], document["superseded"]) == ([], [])
    assert sum(document["copied"].values()) > 3 * TENSOR_BYTES


@pytest.mark.parametrize("command", ["merge", "reshard"])
def test_the_other_writers_print_the_same_document(
    source: Path, tmp_path: Path, run_cli: RunCli, command: str
) -> None:
    """Merge and reshard have the keys of split; without a limit there is none in the document."""
    document = json.loads(run_cli(command, source, tmp_path / "out", "--json").stdout)
    assert list(document) == WRITER_KEYS
    assert (document["command"], document["max_shard_size"]) == (command, None)


def test_a_dry_run_prints_the_plan_file(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """--dry-run --json adds `plan`, names its sources relative to `source`, writes nothing, and
    keeps the plan's id.
    """
    arguments = ("split", source, tmp_path / "out", "--max-shard-size", "800", "--json")
    planned = json.loads(run_cli(*arguments, "--dry-run").stdout)
    assert list(planned) == [*WRITER_KEYS, "plan", "room"]
    assert planned["done"] is False
    assert list(planned["plan"]) == PLAN_KEYS
    assert [list(entry) for entry in planned["plan"]["sources"]] == [
        ["name", "size", "header_sha256", "content"]
    ]
    assert planned["plan"]["sources"][0]["name"] == "model.safetensors"
    assert not (tmp_path / "out").exists()
    assert json.loads(run_cli(*arguments).stdout)["plan_id"] == planned["plan_id"]


def test_a_dry_run_in_a_pipe_is_rows(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """Tab-separated: shard, its size in bytes, its number of tensors."""
    done = run_cli("split", source, tmp_path / "out", "-n", "--max-shard-size", "800")
    header, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert header == ["shard", "size", "tensors"]
    assert [(name, count) for name, _, count in rows] == [
        ("model-00001-of-00002.safetensors", "2"),
        ("model-00002-of-00002.safetensors", "1"),
    ]
    assert all(int(size) > TENSOR_BYTES for _, size, _ in rows)


def test_checksums_are_printed_and_written(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """With --checksums each shard's digest is in the document and in SHA256SUMS."""
    import hashlib

    document = json.loads(
        run_cli("split", source, tmp_path / "out", "--checksums", "--json").stdout
    )
    (shard,) = document["shards"]
    digest = hashlib.sha256((tmp_path / "out" / shard["name"]).read_bytes()).hexdigest()
    assert shard["sha256"] == digest
    assert f"{digest}  {shard['name']}\n" in (tmp_path / "out" / "SHA256SUMS").read_text()


# sizes and exclusive groups


@pytest.mark.parametrize(
    "arguments",
    [
        ("split", "--max-shard-size", "800", "--num-shards", "2"),
        ("reshard", "--single", "--num-shards", "2"),
        ("reshard", "--single", "--max-shard-size", "800"),
        ("split", "--max-shard-size", "5 gigabits"),
        ("split", "--max-shard-size", "0"),
        ("split", "--max-shard-size", "1 GB/s"),
        ("split", "--max-shard-size", ""),
        ("split", "--num-shards", "0"),
        ("split", "--num-shards", "4"),
        ("split", "--num-shards", "100000"),
        ("split", "--single"),
        ("merge", "--max-shard-size", "800"),
        ("reshard", "--strict-size"),
        ("split", "--to", "gguf"),
        ("split", "--name", "a/b"),
        ("split", "--variant", "../x"),
    ],
)
def test_a_request_without_sense_is_2(
    source: Path, tmp_path: Path, run_cli: RunCli, arguments: tuple[str, ...]
) -> None:
    """Usage errors end with 2, print nothing to stdout, and write no file."""
    command, *options = arguments
    done = run_cli(command, source, tmp_path / "out", *options, code=2)
    assert done.stdout == ""
    assert "error: " in done.stderr
    assert "hint: " in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("size", "shards"),
    [("400", 3), ("0.4KB", 3), ("1KiB", 2), ("1ki", 2), ("1.2 kb", 1), ("5GB", 1)],
)
def test_sizes(source: Path, tmp_path: Path, run_cli: RunCli, size: str, shards: int) -> None:
    """A bare integer is bytes, KB is decimal, KiB and Ki are binary, whatever their case."""
    document = json.loads(
        run_cli("split", source, tmp_path / "out", "--max-shard-size", size, "-n", "--json").stdout
    )
    assert len(document["shards"]) == shards


@pytest.mark.parametrize(
    ("variables", "options", "shards"),
    [
        ({"SHARDCTL_SPLIT_MAX_SHARD_SIZE": "400"}, (), 3),
        ({"SHARDCTL_SPLIT_NUM_SHARDS": "2"}, (), 2),
        ({"SHARDCTL_SPLIT_NUM_SHARDS": "2"}, ("--max-shard-size", "400"), 3),
        ({"SHARDCTL_SPLIT_MAX_SHARD_SIZE": "400"}, ("--num-shards", "2"), 2),
        (
            {"SHARDCTL_SPLIT_MAX_SHARD_SIZE": "400", "SHARDCTL_SPLIT_NUM_SHARDS": "2"},
            ("--num-shards", "1"),
            1,
        ),
        ({"SHARDCTL_MERGE_MAX_SHARD_SIZE": "400"}, (), 1),
    ],
)
def test_the_environment_sets_options(
    source: Path,
    tmp_path: Path,
    run_cli: RunCli,
    variables: dict[str, str],
    options: tuple[str, ...],
    shards: int,
) -> None:
    """SHARDCTL_<COMMAND>_<OPTION> is a default; one option of a group puts the variables of the
    whole group aside.
    """
    done = run_cli("split", source, tmp_path / "out", *options, "-n", "--json", env=variables)
    assert len(json.loads(done.stdout)["shards"]) == shards


def test_two_variables_of_a_group_are_2(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """Two environment variables that contradict each other are a usage error."""
    variables = {"SHARDCTL_SPLIT_MAX_SHARD_SIZE": "400", "SHARDCTL_SPLIT_NUM_SHARDS": "2"}
    error = run_cli("split", source, tmp_path / "out", env=variables, code=2).stderr
    assert "--max-shard-size and --num-shards cannot be used together" in error


def test_a_flag_can_come_from_the_environment(
    source: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """Options have variables too, that of companions also with the values of a switch, and the
    command line overrides them.
    """
    for number, value in enumerate(("0", "none")):
        out = tmp_path / f"out{number}"
        run_cli("split", source, out, env={"SHARDCTL_SPLIT_COMPANIONS": value})
        assert names(out) == ["model.safetensors"]
    never = {"SHARDCTL_SPLIT_COMPANIONS": "0"}
    run_cli("split", source, tmp_path / "with", "--companions", "auto", env=never)
    assert names(tmp_path / "with") == ["config.json", "model.safetensors"]


def test_strict_size_limits_the_file(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """--strict-size counts the header; a tensor that cannot fit is named."""
    run_cli("split", source, tmp_path / "out", "--max-shard-size", "600", "--strict-size")
    assert all(path.stat().st_size <= 600 for path in (tmp_path / "out").glob("*.safetensors"))
    done = run_cli(
        "split",
        source,
        tmp_path / "tight",
        "--max-shard-size",
        "300",
        "--strict-size",
        "--json",
        code=2,
    )
    assert json.loads(done.stderr)["tensor"] == "a"


# names, order, nested dictionaries, ties


def test_name_and_variant(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """--name and --variant make the files' names, as transformers and diffusers do."""
    options = ("--name", "diffusion_pytorch_model", "--variant", "fp16", "--num-shards", "2")
    done = run_cli("split", source, "out", *options, cwd=tmp_path)
    assert done.stdout == "out/diffusion_pytorch_model.safetensors.index.fp16.json\n"
    assert "diffusion_pytorch_model.fp16-00001-of-00002.safetensors" in names(tmp_path / "out")


def test_order_natural(tmp_path: Path, run_cli: RunCli) -> None:
    """--order natural packs layer 2 before layer 10; the default keeps the source's order."""
    directory = plain_directory(tmp_path / "source", ["l.10", "l.2", "l.1"])

    def packed(*options: str) -> list[str]:
        done = run_cli(
            "split",
            directory,
            tmp_path / "out",
            "--max-shard-size",
            "400",
            "-n",
            "--json",
            *options,
        )
        return [name for shard in json.loads(done.stdout)["shards"] for name in shard["tensors"]]

    assert packed() == ["l.10", "l.2", "l.1"]
    assert packed("--order", "natural") == ["l.1", "l.2", "l.10"]


def test_key_reaches_a_nested_state_dict(tmp_path: Path, run_cli: RunCli) -> None:
    """Without --key the keys are listed (3); with it the nested state dict is written."""
    import torch

    weights = {"w": torch.arange(6.0), "b": torch.ones(2)}
    path = write_torch(
        tmp_path / "checkpoint.pt", {"step": 3, "model": {"ema": weights}, "model_state": weights}
    )
    refused = run_cli("split", path, tmp_path / "out", "--json", code=3)
    assert (
        "model_state" in json.loads(refused.stderr)["hint"] + json.loads(refused.stderr)["message"]
    )
    run_cli("split", path, tmp_path / "out", "--key", "nowhere", code=3)
    for number, key in enumerate(("model.ema", "model_state")):
        out = tmp_path / f"out{number}"
        run_cli("split", path, out, "--key", key, "--to", "safetensors")
        assert set(load(out / "model.safetensors")) == {"w", "b"}


def test_a_key_with_two_meanings_is_2(tmp_path: Path, run_cli: RunCli) -> None:
    """A literal key `a.b` beside a dictionary `a` that has `b` is never guessed at."""
    import torch

    weights = {"w": torch.ones(2)}
    path = write_torch(tmp_path / "checkpoint.pt", {"a.b": weights, "a": {"b": weights}})
    run_cli("split", path, tmp_path / "out", "--key", "a.b", code=2)


def test_drop_non_tensors(tmp_path: Path, run_cli: RunCli) -> None:
    """A value that is not a tensor is refused by name, unless it may be left out."""
    import torch

    path = write_torch(tmp_path / "pytorch_model.bin", {"w": torch.ones(2), "step": 3})
    assert "step" in run_cli("split", path, tmp_path / "out", code=3).stderr
    said = run_cli("split", path, tmp_path / "out", "--drop-non-tensors").stderr
    assert "left out (not a tensor: builtins.int): step" in said
    assert set(load(tmp_path / "out" / "pytorch_model.bin")) == {"w"}


def test_what_lies_beside_a_key_is_named_and_not_lost(tmp_path: Path, run_cli: RunCli) -> None:
    """With --key the rest is named, and replacing the only copy of it has to be asked for."""
    import torch

    held = {"step": 3, "model": {"w": torch.ones(2)}, "ema": {"w": torch.zeros(2)}}
    path = write_torch(tmp_path / "m" / "pytorch_model.bin", held)
    elsewhere = run_cli("split", path, tmp_path / "out", "--key", "model", "--replace")
    assert "left out (beside the chosen key): step, ema (8 B)" in elsewhere.stderr
    before = path.read_bytes()
    in_place = ("split", path, tmp_path / "m", "--key", "model", "--replace")
    error = run_cli(*in_place, code=2).stderr
    assert "step, ema" in error
    assert "--drop-non-tensors or --companions none" in error
    assert path.read_bytes() == before
    run_cli(*in_place, "--companions", "none")
    assert set(load(path)) == {"w"}


def test_what_a_pickle_would_import_is_named(tmp_path: Path, run_cli: RunCli) -> None:
    """A name that the source's pickle would import, and no file that is written does, is said."""
    import torch

    class Calls:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.system, ("true",))

    held = {"model": {"w": torch.ones(2)}, "x": Calls()}
    path = write_torch(tmp_path / "pytorch_model.bin", held)
    shown = run_cli("split", path, tmp_path / "out", "--key", "model", "--json")
    assert "left out: '" in shown.stderr
    assert f"would import {os.name}.system" in shown.stderr
    (found,) = [e for e in json.loads(shown.stdout)["not_carried"] if e["kind"] == "import"]
    assert (found["name"], found["size"]) == (f"{os.name}.system", None)


def test_a_dry_run_says_where_to_and_how_much(
    source: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """In a pipe the rows stay as they are, and target, room and companions go to stderr."""
    shown = run_cli("split", source, tmp_path / "out", "--dry-run")
    assert shown.stdout.splitlines()[0] == "shard\tsize\ttensors"
    assert f"target: {tmp_path / 'out'}" in shown.stderr
    assert " needed" in shown.stderr
    assert " free" in shown.stderr
    assert "companions: 1 file: config.json" in shown.stderr
    assert "renamed" not in shown.stderr
    renamed = run_cli("split", source, tmp_path / "out", "-n", "--add-prefix", "x.").stderr
    assert "renamed: " in renamed
    assert ", the first to 'x." in renamed
    room = json.loads(run_cli("split", source, tmp_path / "out", "-n", "--json").stdout)["room"]
    assert room["needed"] > source.joinpath("model.safetensors").stat().st_size
    assert room["free"] > 0


@pytest.mark.parametrize(("tied", "held"), [("share", {"z"}), ("expand", {"a", "z"})])
def test_tied_tensors(tmp_path: Path, run_cli: RunCli, tied: str, held: set[str]) -> None:
    """`share` writes one name and records the other; `expand` gives each name separate bytes."""
    import torch

    weight = torch.arange(4.0)
    path = write_torch(tmp_path / "pytorch_model.bin", {"z": weight, "a": weight})
    run_cli("split", path, tmp_path / "out", "--to", "safetensors", "--tied", tied)
    from safetensors import safe_open

    with safe_open(tmp_path / "out" / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == held
        assert ("a" in (file.metadata() or {})) == (tied == "share")


@pytest.mark.parametrize("name", ["reflink", "shareable"])
def test_the_reflink_layout_has_two_names(
    source: Path, tmp_path: Path, run_cli: RunCli, name: str
) -> None:
    """The first name of --layout reflink works still; the plan records that one."""
    out = tmp_path / "out"
    by_option = json.loads(run_cli("split", source, out, "--layout", name, "-n", "--json").stdout)
    variables = {"SHARDCTL_SPLIT_LAYOUT": "reflink"}
    by_variable = json.loads(run_cli("split", source, out, "-n", "--json", env=variables).stdout)
    assert by_option["plan_id"] == by_variable["plan_id"]
    assert by_option["plan"]["layout"] == by_option["plan"]["options"]["layout"] == "shareable"


# what is in the way


def test_another_checkpoint_is_in_the_way(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """A target that holds a checkpoint is 4 and untouched; --replace supersedes the set, and says
    so.
    """
    out = tmp_path / "out"
    run_cli("split", source, out, "--max-shard-size", "400")
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert "--replace" in run_cli("split", source, out, "--max-shard-size", "800", code=4).stderr
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    done = run_cli("split", source, out, "--max-shard-size", "800", "--replace", "--json")
    assert "model-00001-of-00003.safetensors" in json.loads(done.stdout)["superseded"]
    assert names(out) == [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]


def test_replace_leaves_other_checkpoints_alone(
    source: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """A checkpoint of another container is 4 even with --replace, and goes only with
    --replace-all.
    """
    out = tmp_path / "out"
    run_cli("split", source, out)
    assert (
        "--replace-all"
        in run_cli("reshard", source, out, "--to", "bin", "--replace", code=4).stderr
    )
    run_cli("reshard", source, out, "--to", "bin", "--replace-all")
    assert names(out) == ["config.json", "pytorch_model.bin"]


def test_the_target_may_be_the_source_only_with_replace(source: Path, run_cli: RunCli) -> None:
    """Writing into the directory that is read needs --replace; then the set that was read goes."""
    assert (
        "is the source itself"
        in run_cli("split", source, source, "--num-shards", "2", code=4).stderr
    )
    assert names(source) == ["config.json", "model.safetensors"]
    run_cli("split", source, source, "--num-shards", "2", "--replace")
    assert "model.safetensors" not in names(source)
    assert set(load(source / "model.safetensors.index.json")) == {"a", "b", "c"}


def test_files_of_the_current_directory(source: Path, run_cli: RunCli) -> None:
    """A file without a directory is read into a new directory and into a new file."""
    run_cli("merge", "model.safetensors", "new/out", cwd=source)
    run_cli("reshard", "model.safetensors", "new.bin", "--single", cwd=source)
    assert set(load(source / "new" / "out" / "model.safetensors")) == {"a", "b", "c"}
    assert set(load(source / "new.bin")) == {"a", "b", "c"}


def test_another_variant_is_written_beside_its_source(source: Path, run_cli: RunCli) -> None:
    """A variant goes into the directory that is read without --replace, and what is there stays;
    the same variant, or another format of it, is still refused.
    """
    run_cli("split", source, source, "--num-shards", "2", "--variant", "fp16")
    assert names(source) == [
        "config.json",
        "model.fp16-00001-of-00002.safetensors",
        "model.fp16-00002-of-00002.safetensors",
        "model.safetensors",
        "model.safetensors.index.fp16.json",
    ]
    for options in (["--to", "bin"], ["--name", "other"], ["--variant", "fp16", "--single"]):
        said = run_cli("reshard", source, source, *options, code=4).stderr
        assert "is the source itself" in said
        assert "--replace-all" not in said


def test_a_different_companion_is_in_the_way(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """A config of other content in the target is 4; one of equal content does not stop the run."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text('{"mine": true}')
    assert "config.json" in run_cli("split", source, out, code=4).stderr
    assert names(out) == ["config.json"]
    (out / "config.json").write_text("{}")
    run_cli("split", source, out)


def test_companions_are_what_a_loader_wants(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """Training state, checksums and links that lead elsewhere are not copied, and a note names each
    with its size; links within the directory are followed.
    """
    (source / "optimizer.pt").write_bytes(b"x")
    (source / "training_args.bin").write_bytes(b"x")
    (source / "SHA256SUMS").write_text("")
    (tmp_path / "secret").write_text("words")
    (source / "stolen.txt").symlink_to(tmp_path / "secret")
    (source / "words.txt").write_text("words")
    (source / "vocab.txt").symlink_to("words.txt")
    said = run_cli("split", source, tmp_path / "out").stderr
    assert names(tmp_path / "out") == ["config.json", "model.safetensors", "vocab.txt", "words.txt"]
    assert not (tmp_path / "out" / "vocab.txt").is_symlink()
    assert "(training state): optimizer.pt (1 B), training_args.bin (1 B)" in said
    assert "(a link that leads out of the source directory): stolen.txt (5 B)" in said
    run_cli("split", source, tmp_path / "bare", "--no-companions")
    assert names(tmp_path / "bare") == ["model.safetensors"]
    run_cli("split", source, tmp_path / "all", "--companions", "all")
    assert {"optimizer.pt", "training_args.bin"} <= set(names(tmp_path / "all"))
    assert not {"SHA256SUMS", "stolen.txt"} & set(names(tmp_path / "all"))


def test_what_stays_behind_is_in_the_document(
    source: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """`not_carried` has each file and directory that stays, before and after the run."""
    (source / "optimizer.pt").write_bytes(b"12345")
    (source / "onnx").mkdir()
    (source / "onnx" / "model.onnx").write_bytes(b"123")
    wanted = [
        {
            "name": "onnx",
            "kind": "directory",
            "reason": "weights of another framework",
            "size": 3,
        },
        {"name": "optimizer.pt", "kind": "file", "reason": "training state", "size": 5},
    ]
    for options in (("--dry-run",), (), ()):
        shown = run_cli("split", source, tmp_path / "out", "--json", *options)
        document = json.loads(shown.stdout)
        assert document["not_carried"] == wanted
    assert document["up_to_date"] is True


def test_a_companion_in_a_sub_directory_is_replaced_only_where_asked(
    source: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """A file in a sub-directory of the target is kept, replaced, or in the way as any other."""
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text("{}")
    target = tmp_path / "out" / "1_Pooling" / "config.json"
    run_cli("split", source, tmp_path / "out")
    assert target.read_text() == "{}"
    target.write_text('{"mine": 1}')
    (tmp_path / "out" / "1_Pooling" / "notes").write_text("mine")
    again = ("split", source, tmp_path / "out", "--variant", "v", "--replace-all")
    assert "1_Pooling/config.json" in run_cli(*again).stderr
    assert target.read_text() == '{"mine": 1}'
    more = ("--variant", "w", "--replace-companions")
    document = json.loads(run_cli(*again, *more, "--json").stdout)
    assert "1_Pooling/config.json" in document["superseded"]
    assert target.read_text() == "{}"
    assert (tmp_path / "out" / "1_Pooling" / "notes").read_text() == "mine"
    assert names(tmp_path / "out") == ["1_Pooling", "config.json", "model.w.safetensors"]


def test_a_file_target_with_an_unknown_suffix_is_2(
    source: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """An existing file of no known format is not overwritten, nor replaced by a directory."""
    (tmp_path / "notes.txt").write_text("mine")
    run_cli("merge", source, tmp_path / "notes.txt", code=2)
    run_cli("split", source, tmp_path / "out.safetensors", code=2)
    run_cli("merge", source, tmp_path / "out.safetensors", "--to", "bin", code=2)
    assert (tmp_path / "notes.txt").read_text() == "mine"


# up to date


def test_up_to_date(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """A second run writes nothing, says so, prints the path and ends with 0; without a record it
    compares.
    """
    arguments = ("split", source, tmp_path / "out", "--max-shard-size", "400")
    first = run_cli(*arguments)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    second = run_cli(*arguments)
    assert second.stdout == first.stdout
    assert second.stderr == "up to date\n"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    assert json.loads(run_cli(*arguments, "--json").stdout)["done"] is True
    assert not (tmp_path / "out" / ".shardctl").exists()
    run_cli(*arguments[:3], "--max-shard-size", "300", "--replace", "--no-record")
    third = run_cli(*arguments[:3], "--max-shard-size", "300")
    assert third.stderr == (
        "note: the target was compared with the source: it is complete and equal\nup to date\n"
    )


def test_the_record_is_kept_apart(
    source: Path, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is in the user's state directory, and a run needs none of it."""
    state = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    run_cli("split", source, tmp_path / "out", "--no-record")
    assert list(state.rglob("*.json")) == []
    run_cli("split", source, tmp_path / "other")
    assert len(list(state.rglob("*.json"))) == 1
    state.joinpath("shardctl").rename(tmp_path / "away")
    state.joinpath("shardctl").write_text("no directory can be made here")
    run_cli("split", source, tmp_path / "third")


@pytest.mark.parametrize("touched", ["source", "target"])
def test_a_changed_file_is_not_up_to_date(
    source: Path, tmp_path: Path, run_cli: RunCli, touched: str
) -> None:
    """Neither a changed source nor a changed result passes for the run's own."""
    run_cli("split", source, tmp_path / "out")
    path = (source if touched == "source" else tmp_path / "out") / "model.safetensors"
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    run_cli("split", source, tmp_path / "out", code=4)


def test_check_says_whether_there_is_work(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """--check writes and prints nothing: 1 where there is work, 0 where there is none."""
    arguments = ("split", source, tmp_path / "out")
    assert run_cli(*arguments, "--check", code=1).stdout == ""
    assert not (tmp_path / "out").exists()
    run_cli(*arguments)
    assert run_cli(*arguments, "--check").stdout == ""


# sources


def test_a_shard_stands_for_its_set(tmp_path: Path, run_cli: RunCli) -> None:
    """A writer takes the whole set that a named file belongs to, and says so; an incomplete one is
    3.
    """
    sharded = tmp_path / "sharded"
    run_cli("split", plain_directory(tmp_path / "source"), sharded, "--max-shard-size", "400")
    first = sharded / "model-00001-of-00003.safetensors"
    done = run_cli("merge", first, tmp_path / "one.safetensors")
    assert "one of 3 files" in done.stderr
    assert set(load(tmp_path / "one.safetensors")) == {"a", "b", "c"}
    (sharded / "model-00002-of-00003.safetensors").unlink()
    run_cli("merge", first, tmp_path / "two.safetensors", code=3)
    run_cli("merge", sharded, tmp_path / "two.safetensors", code=3)


def test_reshard_keeps_the_number_of_shards(tmp_path: Path, run_cli: RunCli) -> None:
    """Without an option, reshard changes the container only."""
    run_cli(
        "split", plain_directory(tmp_path / "source"), tmp_path / "sharded", "--num-shards", "2"
    )
    run_cli("reshard", tmp_path / "sharded", tmp_path / "out", "--to", "bin")
    assert [name for name in names(tmp_path / "out") if name.endswith(".bin")] == [
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model-00002-of-00002.bin",
    ]


def test_oversize_tensors_are_listed(tmp_path: Path, run_cli: RunCli) -> None:
    """A tensor over the limit gets a separate shard, and the document names it."""
    write_floats(tmp_path / "source" / "model.safetensors", {"a": 400, "big": 4000, "c": 400})
    arguments = (
        "split",
        tmp_path / "source",
        tmp_path / "out",
        "--max-shard-size",
        "1KB",
        "--json",
    )
    document = json.loads(run_cli(*arguments).stdout)
    assert document["oversize"] == ["big"]
    assert [shard["tensors"] for shard in document["shards"]] == [["big"], ["a", "c"]]


# hints


def test_hints_name_options(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """What an error advises is said in options, for people and in JSON."""
    (tmp_path / "one.bin").write_text("mine")
    line = ("merge", source, tmp_path / "one.bin")
    assert "or add --replace to replace it" in run_cli(*line, code=4).stderr
    assert "--replace" in json.loads(run_cli(*line, "--json", code=4).stderr)["hint"]
    error = run_cli("split", source, tmp_path / "x.safetensors", code=2).stderr
    assert "use `shardctl merge` for one file" in error


@pytest.mark.parametrize("option", ["REPLACE", "REPLACE_ALL", "RESTART", "DROP_NON_TENSORS"])
def test_no_variable_replaces_or_discards(
    source: Path, tmp_path: Path, run_cli: RunCli, option: str
) -> None:
    """What replaces, discards or leaves out something has to be typed each time."""
    (tmp_path / "out").mkdir()
    write_floats(tmp_path / "out" / "model.safetensors", {"old": 8})
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    variables = {f"SHARDCTL_SPLIT_{option}": "1"}
    run_cli("split", source, "out", cwd=tmp_path, env=variables, code=4)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before


def test_several_files_are_joined(tmp_path: Path, run_cli: RunCli) -> None:
    """The last argument is the target, all others are read in order; JSON names each of them."""
    one = write_floats(tmp_path / "one.safetensors", {"a": 4})
    two = write_floats(tmp_path / "two.safetensors", {"b": 4})
    target = tmp_path / "both.safetensors"
    document = json.loads(run_cli("merge", one, two, target, "--json").stdout)
    assert (document["source"], document["more_sources"]) == (str(one), [str(two)])
    assert document["shards"][0]["tensors"] == ["a", "b"]
    assert "up to date" in run_cli("merge", one, two, target).stderr
