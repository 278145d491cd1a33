"""verify and index: findings in a pipe and as a document, and the exit code that CI acts on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.loud_pickles import loud_pickle
from tests.support.program import RunCli
from tests.support.safetensors_files import plain_directory, write_floats
from tests.support.state_dicts import write_torch

VERIFY_KEYS = [
    "schema_version",
    "command",
    "source",
    "ok",
    "depth",
    "checked",
    "counts",
    "findings",
    "unchecked",
]
FINDING_KEYS = ["code", "severity", "file", "tensor", "offset", "message", "hint"]


@pytest.fixture
def sharded(tmp_path: Path, run_cli: RunCli) -> Path:
    """A directory with three shards."""
    run_cli(
        "split",
        plain_directory(tmp_path / "source"),
        tmp_path / "sharded",
        "--max-shard-size",
        "400",
    )
    return tmp_path / "sharded"


def codes(text: str) -> set[str]:
    """The codes of the findings in a document."""
    return {finding["code"] for finding in json.loads(text)["findings"]}


def test_a_sound_checkpoint_is_0(sharded: Path, run_cli: RunCli) -> None:
    """Nothing on stdout, one line on stderr, and the document's counts are zero."""
    done = run_cli("verify", sharded)
    assert done.stdout == ""
    assert done.stderr.startswith("ok: 3 files, 3 tensors")
    assert done.stderr.endswith(
        "\nchecked: structure and index only: no checksums recorded (compare with --against, or "
        "write --checksums)\n"
    )
    assert run_cli("verify", sharded, "-q").stderr == ""
    document = json.loads(run_cli("verify", sharded, "--json").stdout)
    assert list(document) == VERIFY_KEYS
    assert document["ok"] is True
    assert document["depth"] == "headers"
    assert document["checked"] == {"files": 3, "tensors": 3, "bytes": 0}
    assert document["counts"] == {"error": 0, "warning": 0, "note": 0}
    assert list(document["checked"]) == ["files", "tensors", "bytes"]
    assert document["unchecked"] == [
        {
            "what": "the bytes of 3 tensors",
            "reason": "no checksums recorded (compare with --against, or write --checksums)",
        }
    ]


def test_deep_reads_all_bytes(sharded: Path, run_cli: RunCli) -> None:
    """--deep says so, and counts the bytes that it read."""
    document = json.loads(run_cli("verify", sharded, "--deep", "--json").stdout)
    assert document["depth"] == "deep"
    assert document["checked"]["bytes"] == sum(
        path.stat().st_size for path in sharded.glob("*.safetensors")
    )


def test_findings_are_rows_in_a_pipe(sharded: Path, run_cli: RunCli) -> None:
    """One finding a line: severity, code, file, tensor, message; exit code 1."""
    (sharded / "model-00002-of-00003.safetensors").unlink()
    done = run_cli("verify", sharded, code=1)
    found = [line.split("\t") for line in done.stdout.splitlines()]
    assert {len(row) for row in found} == {5}
    assert ["error", "index-shard-missing"] in [row[:2] for row in found]
    assert done.stderr.startswith("not ok: ")


def test_findings_in_json(sharded: Path, run_cli: RunCli) -> None:
    """A damaged checkpoint gives the document on stdout, nothing on stderr, and 1."""
    (sharded / "model-00002-of-00003.safetensors").unlink()
    done = run_cli("verify", sharded, "--json", code=1)
    document = json.loads(done.stdout)
    assert done.stderr == ""
    assert document["ok"] is False
    assert all(list(finding) == FINDING_KEYS for finding in document["findings"])
    assert document["counts"]["error"] == sum(
        f["severity"] == "error" for f in document["findings"]
    )


def test_it_goes_on_to_find_the_rest(sharded: Path, run_cli: RunCli) -> None:
    """Several faults are several findings, and damage is 1, not 3."""
    (sharded / "model-00001-of-00003.safetensors").write_bytes(b"")
    second = sharded / "model-00002-of-00003.safetensors"
    second.write_bytes(second.read_bytes()[:-10])
    (sharded / "model-00003-of-00003.safetensors").unlink()
    found = codes(run_cli("verify", sharded, "--json", code=1).stdout)
    assert {"file-empty", "file-truncated", "index-shard-missing"} <= found


def test_rows_escape_names(tmp_path: Path, run_cli: RunCli) -> None:
    """A tensor's name with a TAB or a line break cannot make a second field or row."""
    one = write_floats(tmp_path / "one.safetensors", {"a\tb\nc": 4})
    two = write_floats(tmp_path / "two.safetensors", {"d": 4})
    done = run_cli("verify", one, "--against", two, code=1)
    assert all(line.count("\t") == 4 for line in done.stdout.splitlines())
    assert r"a\tb\nc" in done.stdout


def test_warnings_count_only_with_strict(sharded: Path, run_cli: RunCli) -> None:
    """A missing index is a warning: 0, and 1 with --strict."""
    (sharded / "model.safetensors.index.json").unlink()
    done = run_cli("verify", sharded)
    assert done.stdout.startswith("warning\tindex-missing\t")
    run_cli("verify", sharded, "--strict", code=1)


def test_an_ambiguous_directory_is_a_finding(tmp_path: Path, run_cli: RunCli) -> None:
    """Where loaders differ in what they take, verify says which takes what."""
    directory = plain_directory(tmp_path / "m")
    write_floats(directory / "pytorch_model.bin", {"a": 4})
    assert "folder-ambiguous" in codes(run_cli("verify", directory, "--json", code=1).stdout)


def test_a_named_shard_is_looked_at_alone(sharded: Path, run_cli: RunCli) -> None:
    """A shard's own faults are found without the others."""
    (sharded / "model-00002-of-00003.safetensors").unlink()
    run_cli("verify", sharded / "model-00001-of-00003.safetensors")


def test_against(tmp_path: Path, sharded: Path, run_cli: RunCli) -> None:
    """Equal tensors in other files and another format are equal; each difference has its code."""
    run_cli("merge", sharded, tmp_path / "one.bin")
    run_cli("verify", sharded, "--against", tmp_path / "one.bin", "--deep")
    header = {"a": 400, "b": 396, "d": 400}
    other = write_floats(tmp_path / "other.safetensors", header, fill=9)
    found = codes(run_cli("verify", sharded, "--against", other, "--deep", "--json", code=1).stdout)
    assert {"against-missing", "against-extra", "against-shape", "against-data"} <= found


def test_digests(tmp_path: Path, run_cli: RunCli) -> None:
    """--deep compares with SHA256SUMS, and finds a byte that changed."""
    run_cli("split", plain_directory(tmp_path / "m"), tmp_path / "out", "--checksums")
    run_cli("verify", tmp_path / "out", "--deep", "--strict")
    with (tmp_path / "out" / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    assert codes(run_cli("verify", tmp_path / "out", "--deep", "--json", code=1).stdout) == {
        "digest-mismatch"
    }


def test_a_flipped_bit_in_a_torch_file(tmp_path: Path, run_cli: RunCli) -> None:
    """A record's CRC-32 that does not match is found by --deep, with the tensor's name."""
    import torch

    path = write_torch(tmp_path / "pytorch_model.bin", {"w": torch.arange(1000.0)})
    offset = json.loads(run_cli("inspect", path, "--json").stdout)["tensors"][0]["offset"]
    with path.open("r+b") as file:
        file.seek(offset + 7)
        file.write(b"!")
    run_cli("verify", path)
    (finding,) = json.loads(run_cli("verify", path, "--deep", "--json", code=1).stdout)["findings"]
    assert (finding["code"], finding["tensor"]) == ("zip-crc-mismatch", "w")


def test_nothing_is_unpickled(tmp_path: Path, run_cli: RunCli) -> None:
    """A pickle that would run code is reported, and does not run."""
    import torch

    from tests.support.loud_pickles import Loud

    marker = tmp_path / "marker"
    path = write_torch(tmp_path / "pytorch_model.bin", {"w": torch.ones(2), "x": Loud(str(marker))})
    assert "pickle-unsafe" in codes(run_cli("verify", path, "--json", code=1).stdout)
    (tmp_path / "raw.bin").write_bytes(loud_pickle(marker))
    run_cli("verify", tmp_path / "raw.bin", code=1)
    assert not marker.exists()


def test_nothing_there_is_3(tmp_path: Path, run_cli: RunCli) -> None:
    """A path that leads nowhere is no finding: there is nothing to look at."""
    run_cli("verify", tmp_path / "nowhere", code=3)


# index


def test_index_repairs(sharded: Path, run_cli: RunCli) -> None:
    """Index writes what the headers say; a second run changes nothing."""
    path = sharded / "model.safetensors.index.json"
    sound = path.read_bytes()
    path.unlink()
    run_cli("index", sharded, "--check", code=1)
    assert not path.exists()
    done = run_cli("index", sharded)
    assert done.stdout == f"{path}\n"
    assert path.read_bytes() == sound
    assert run_cli("index", sharded, "--check").stdout == ""


def test_index_json(sharded: Path, run_cli: RunCli) -> None:
    """The document says what changed, and whether it was written."""
    path = sharded / "model.safetensors.index.json"
    document = json.loads(path.read_text())
    document["metadata"]["total_size"] = 1
    path.write_text(json.dumps(document))
    found = json.loads(run_cli("index", sharded, "--json").stdout)
    assert list(found) == [
        "schema_version", "command", "done", "up_to_date", "source", "index", "changes",
    ]  # fmt: skip
    assert found["done"] is True
    assert any("total_size" in change for change in found["changes"])
    assert json.loads(run_cli("index", sharded, "--json").stdout)["changes"] == []


def test_index_needs_shards(tmp_path: Path, sharded: Path, run_cli: RunCli) -> None:
    """One file needs no index (2), and an index of an incomplete set would lose tensors (3)."""
    run_cli("index", plain_directory(tmp_path / "m"), code=2)
    (sharded / "model.safetensors.index.json").unlink()
    (sharded / "model-00002-of-00003.safetensors").unlink()
    run_cli("index", sharded, code=3)


# options of all commands that read


@pytest.mark.parametrize("command", ["inspect", "verify", "index"])
def test_verbose_lists_the_files_read(sharded: Path, run_cli: RunCli, command: str) -> None:
    """With -v every file whose header is read is a line on stderr with its size; -q is stronger."""
    plain, verbose = run_cli(command, sharded), run_cli(command, sharded, "-v")
    read = [line for line in verbose.stderr.splitlines() if line.startswith("reads ")]
    assert read == [
        f"reads {path} ({path.stat().st_size} B)" for path in sorted(sharded.glob("*.safetensors"))
    ]
    assert (verbose.stdout, "reads" in plain.stderr) == (plain.stdout, False)
    assert run_cli(command, sharded, "-v", "-q").stderr == ""


def test_verbose_lists_what_is_compared(tmp_path: Path, sharded: Path, run_cli: RunCli) -> None:
    """The files of the other checkpoint are listed too."""
    run_cli("merge", sharded, tmp_path / "one.bin")
    done = run_cli("verify", sharded, "--against", tmp_path / "one.bin", "-v")
    assert f"reads {tmp_path / 'one.bin'} (" in done.stderr


@pytest.mark.parametrize("command", ["inspect", "verify", "index"])
def test_progress_json_ends_with_an_event(sharded: Path, run_cli: RunCli, command: str) -> None:
    """With --progress json the last event says that all is done, or what failed."""
    lines = run_cli(command, sharded, "--progress", "json").stderr.splitlines()
    assert json.loads(next(line for line in lines if line.startswith("{")))["event"] == "done"
    failed = run_cli(command, sharded / "gone", "--progress", "json", code=3).stderr.splitlines()
    assert json.loads(failed[0])["event"] == "error"
    assert "{" not in run_cli(command, sharded, "--progress", "none").stderr


def test_findings_name_commands(sharded: Path, run_cli: RunCli) -> None:
    """What a finding advises is said in commands to type."""
    (sharded / "model.safetensors.index.json").unlink()
    (finding,) = json.loads(run_cli("verify", sharded, "--json").stdout)["findings"]
    assert "`shardctl index`" in finding["hint"]


def test_quiet_prints_only_what_fails(sharded: Path, run_cli: RunCli) -> None:
    """With -q a sound checkpoint has no output at all, and a damaged one only its errors."""
    done = run_cli("verify", sharded, "-q")
    assert (done.stdout, done.stderr) == ("", "")
    drawn = run_cli("verify", sharded, "-q", env={"FORCE_COLOR": "1"})
    assert (drawn.stdout, drawn.stderr) == ("", "")
    (sharded / "model.safetensors.index.json").unlink()
    assert run_cli("verify", sharded, "-q").stdout == ""  # a warning
    assert run_cli("verify", sharded, "-q", "--strict", code=1).stdout.startswith("warning\t")
    next(iter(sorted(sharded.glob("*.safetensors")))).unlink()
    done = run_cli("verify", sharded, "-q", code=1)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["error"]
    assert done.stderr == ""
