"""The commands on a pipeline: one summary, one exit code, and the tree kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from shardctl.checksums import format_checksums, parse_checksums
from shardctl.commands import write as writing
from shardctl.commands.preparing.work import prepare_all
from shardctl.engine.commit.staging import Staging
from shardctl.engine.journal.journal import Journal
from shardctl.errors import Stopped
from shardctl.planning.request import Limits, WriteOptions
from shardctl.stores.local.store import LocalStore
from tests.support.pipelines import written_pipeline
from tests.support.program import Call

SPLIT = ("--max-shard-size", 150)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A pipeline of three components."""
    return written_pipeline(tmp_path / "pipeline")


def files(directory: Path) -> dict[str, bytes]:
    """All files below a directory, by their names from there on."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_pipeline_there_and_back(call: Call, source: Path, tmp_path: Path) -> None:
    """Split, found up to date, merged again: the tree is the one that it was."""
    out, back = tmp_path / "out", tmp_path / "back"
    printed, said = call("split", source, out, *SPLIT)
    assert printed == f"{out}\n"
    assert "wrote 5 files of 6 tensors in 3 components" in said
    assert not list(out.rglob(".shardctl"))
    printed, said = call("split", source, out, *SPLIT)
    assert (printed, said) == (f"{out}\n", "up to date\n")
    call("merge", out, back)
    assert files(back) == files(source)
    said = call("verify", out, "--against", source, "--deep")[1]
    assert said.startswith("ok: 5 files, 6 tensors")


def test_check(call: Call, source: Path, tmp_path: Path) -> None:
    """There is work until every part of the tree is there."""
    out = tmp_path / "out"
    call("merge", source, out, "--check", code=1)
    call("merge", source, out)
    call("merge", source, out, "--check")
    (out / "model_index.json").unlink()
    call("merge", source, out, "--check", code=1)


def test_a_dry_run(call: Call, source: Path, tmp_path: Path) -> None:
    """Its rows name the shards of every component, and nothing is written."""
    printed, said = call("split", source, tmp_path / "out", *SPLIT, "--dry-run")
    rows = [line.split("\t")[0] for line in printed.splitlines()]
    assert rows == [
        "shard",
        "text_encoder/model.safetensors",
        *(f"unet/diffusion_pytorch_model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)),
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert "companions: 7 files: text_encoder/config.json" in said
    assert not (tmp_path / "out").exists()


def test_a_file_for_a_target(call: Call, source: Path, tmp_path: Path) -> None:
    """That is a mistake of use, with what to name instead."""
    target = tmp_path / "model.safetensors"
    said = call("merge", source, target, code=2)[1]
    assert "is a pipeline of 3 components" in said
    assert f"{source}/text_encoder" in said
    assert not target.exists()


def test_a_signal_between_components(
    call: Call, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written stays, and the same command writes the rest."""
    out, write = tmp_path / "out", writing.write
    count = 0

    def stopping(*given: object, **named: object) -> object:
        nonlocal count
        count += 1
        if count == 2:
            raise Stopped(15)
        call_through: Callable[..., object] = write
        return call_through(*given, **named)

    monkeypatch.setattr(writing, "write", stopping)
    said = call("split", source, out, *SPLIT, code=143)[1]
    assert "finished files are kept" in said
    assert set(files(out)) == {"text_encoder/model.safetensors", "text_encoder/config.json"}
    monkeypatch.undo()
    said = call("split", source, out, *SPLIT)[1]
    assert "wrote 4 files of 4 tensors in 2 components" in said
    (out / "model_index.json").unlink()
    said = call("split", source, out, *SPLIT)[1]
    assert "wrote the files beside the components" in said
    call("merge", out, tmp_path / "back")
    assert files(tmp_path / "back") == files(source)


def test_in_place(call: Call, source: Path) -> None:
    """A pipeline is replaced with leave only, and only its weights are."""
    before = files(source)
    assert "is the source itself" in call("split", source, source, *SPLIT, code=4)[1]
    call("split", source, source, *SPLIT, "--replace")
    assert len(files(source)) == len(before) + 3
    call("merge", source, source, "--replace")
    assert files(source) == before


def test_damage_in_one_component(call: Call, source: Path, tmp_path: Path) -> None:
    """It is the exit code of all; a writer writes nothing then."""
    weights = source / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    printed = call("verify", source, code=1)[0]
    assert str(weights) in printed
    assert "warning: vae: " in call("inspect", source)[1]
    assert str(weights) in call("split", source, tmp_path / "out", code=3)[1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["r.html", "r.svg"])
def test_a_report(call: Call, source: Path, tmp_path: Path, name: str) -> None:
    """It shows the files of every component."""
    report = tmp_path / name
    for command in (
        ("inspect", source),
        ("verify", source),
        ("split", source, tmp_path / "out", *SPLIT),
    ):
        call(*command, "--report", report)
        text = report.read_text("utf-8")
        assert "text_encoder/model.safetensors" in text
        assert "vae/diffusion_pytorch_model.safetensors" in text


def test_a_drawing(
    call: Call, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal every component is drawn, after what they are together."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    printed = " ".join(call("inspect", source)[0].split())
    assert "pipeline, 3 components, 6 tensors" in printed
    printed = call("split", source, tmp_path / "out", *SPLIT, "--dry-run")[0]
    assert all(name in printed for name in ("text_encoder", "unet", "vae"))


def listed(source: Path) -> dict[str, str]:
    """Write a list of checksums of all files to the top of a pipeline; return the digests."""
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files(source).items()}
    (source / "SHA256SUMS").write_bytes(format_checksums(sums))
    return sums


def test_a_list_of_checksums(call: Call, source: Path) -> None:
    """A changed component is found by it; in place the lines of what is replaced are removed."""
    sums = listed(source)
    assert "each structure and SHA-256 of 1 file" in call("verify", source, "--deep")[1]
    call("split", source, source, *SPLIT, "--replace", "--checksums")
    left = parse_checksums((source / "SHA256SUMS").read_bytes())
    assert left == {name: sha for name, sha in sums.items() if not name.endswith(".safetensors")}
    assert "no problems found" in call("verify", source, "--deep", "--strict")[1]
    listed(source)
    weights = source / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    printed = call("verify", source, "--deep", code=1)[0]
    assert f"'{source}/SHA256SUMS' says" in printed


def test_an_unfinished_run_in_one_component(call: Call, source: Path, tmp_path: Path) -> None:
    """With other options it is found before anything is written, with what to do."""
    out = tmp_path / "out"
    (out / "vae").mkdir(parents=True)
    local, asked = LocalStore(), WriteOptions(limits=Limits(), format="bin")
    work = prepare_all(local, str(source), local, str(out), asked, finish=False)
    (part,) = (part for part in work.parts if part.name == "vae")
    with Staging.make(local, str(out / "vae")) as staging:
        Journal(staging).begin(part.prepared.identity, ["x"])
    said = call("split", source, out, *SPLIT, code=4)[1]
    assert "holds an unfinished run with other options" in said
    assert "--restart" in said
    assert [path.name for path in out.iterdir()] == ["vae"]
    call("split", source, out, *SPLIT, "--restart")
    assert not list(out.rglob(".shardctl"))
