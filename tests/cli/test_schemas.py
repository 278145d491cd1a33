"""What the program prints is what the schemas in docs/schemas say, strictly: no key is missing and
none is added.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from shardctl.commands.preparing import work as preparing
from shardctl.errors import Stopped
from shardctl.formats.registry import writable
from shardctl.stores.local.store import LocalStore
from tests.support.pipelines import written_pipeline
from tests.support.program import ROOT, Call, call_cli
from tests.support.safetensors_files import TENSOR_BYTES, plain_directory, write_floats
from tests.support.state_dicts import write_torch

SCHEMAS = {
    path.name: json.loads(path.read_text("utf-8"))
    for path in sorted((ROOT / "docs/schemas").glob("*.json"))
}
REGISTRY: Registry[Any] = Registry().with_resources(
    (name, Resource.from_contents(schema)) for name, schema in SCHEMAS.items()
)


def check(document: object, schema: str) -> None:
    """Raise what is wrong with the document, at which place in it."""
    Draft202012Validator(SCHEMAS[f"{schema}.schema.json"], registry=REGISTRY).validate(document)


@pytest.fixture
def document(call: Call) -> Callable[..., dict[str, Any]]:
    """`document(schema, *arguments, code=0)` is the document that a command prints, checked."""

    def document(schema: str, *arguments: object, code: int = 0) -> dict[str, Any]:
        found = json.loads(call(*arguments, "--json", code=code)[0])
        check(found, schema)
        return dict(found)

    return document


Document = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single file and a sharded set in either format, each with a config."""
    directory = tmp_path_factory.mktemp("made")
    single = plain_directory(directory / "single")
    for name, command, *options in (
        ("sharded", "split", "--max-shard-size", "800"),
        ("bin", "reshard", "--to", "bin"),
        ("sharded-bin", "reshard", "--to", "bin", "--num-shards", "2"),
    ):
        call_cli(command, single, directory / name, *options)
    return directory


@pytest.fixture
def checkpoints(made: Path, tmp_path: Path) -> dict[str, Path]:
    """The same, for one test to change."""
    shutil.copytree(made, tmp_path / "made")
    return {path.name: path for path in (tmp_path / "made").iterdir()}


# the schemas themselves


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid(name: str) -> None:
    """Each is a JSON Schema of draft 2020-12 with a title and a description."""
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["title"]
    assert schema["description"]


def objects(schema: object) -> Iterator[dict[str, Any]]:
    """Every schema of an object with named keys, however deep."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_strict(name: str) -> None:
    """Every object with named keys refuses others; the one that is extended is closed where it is
    used.
    """
    loose = [
        schema
        for schema in objects(SCHEMAS[name])
        if schema.get("additionalProperties") is not False
        and schema.get("unevaluatedProperties") is not False
    ]
    assert loose == ([SCHEMAS[name]["$defs"]["document"]] if name == "writer.schema.json" else [])


def test_a_schema_finds_what_is_wrong() -> None:
    """A key too many, one too few and a value of another type are each refused, in a plan too."""
    wrong: list[tuple[str, object]] = [
        ("progress", {"event": "committing", "done": 1, "total": 1, "more": 1}),
        ("progress", {"event": "committing", "done": 1}),
        (
            "index",
            {
                "schema_version": 2,
                "command": "index",
                "done": True,
                "source": "",
                "index": "",
                "changes": [],
            },
        ),
        ("plan", {"plan": {}}),
    ]
    for schema, found in wrong:
        validator = Draft202012Validator(SCHEMAS[f"{schema}.schema.json"], registry=REGISTRY)
        assert not validator.is_valid(found), found


# the documents


@pytest.mark.parametrize("name", ["single", "sharded", "bin", "sharded-bin"])
def test_readers(checkpoints: dict[str, Path], document: Document, name: str) -> None:
    """Inspect and verify every kind of checkpoint, also with all their options."""
    source = checkpoints[name]
    found = document("inspect", "inspect", source)
    assert (found["index"] is None) == (not name.startswith("sharded"))
    assert [tensor["name"] for tensor in found["tensors"]] == ["a", "b", "c"]
    assert len(document("inspect", "inspect", source, "--filter", "a")["tensors"]) == 1
    numbers = document("inspect", "inspect", source, "--stats")["tensors"]
    assert all(tensor["statistics"]["nan"] == 0 for tensor in numbers)
    assert document("verify", "verify", source)["ok"]
    against = document("verify", "verify", source, "--deep", "--against", checkpoints["single"])
    assert set(against["digests"]) == {"a", "b", "c"}


@pytest.mark.parametrize("command", ["split", "merge", "reshard"])
@pytest.mark.parametrize("name", ["single", "sharded-bin"])
def test_writers(
    checkpoints: dict[str, Path], document: Document, tmp_path: Path, command: str, name: str
) -> None:
    """The plan, the run, the run that is up to date and the one that replaces: one shape, and the
    same plan id.
    """
    arguments = (command, checkpoints[name], tmp_path / "out", "--checksums", "--replace")
    planned = document("plan", *arguments, "--dry-run")
    written = document("writer", *arguments)
    again = document("writer", *arguments)
    assert (planned["done"], written["done"], again["done"]) == (False, True, True)
    assert (planned["up_to_date"], written["up_to_date"], again["up_to_date"]) == (
        False,
        False,
        True,
    )
    assert planned["plan_id"] == written["plan_id"] == again["plan_id"]
    assert sum(written["copied"].values()) > 3 * TENSOR_BYTES
    assert sum(again["copied"].values()) == 0
    replaced = document("writer", *arguments, "--variant", "fp16", "--replace-all")
    assert written["loads_from"].rsplit("/", 1)[-1] in replaced["superseded"]


def test_companions_are_those_of_the_set(
    checkpoints: dict[str, Path], document: Document, tmp_path: Path
) -> None:
    """They are listed whether this run copied them, they were there already, or the run had nothing
    to do.
    """
    (checkpoints["single"] / "tokenizer.json").write_text("{}")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("{}")
    arguments = ("split", checkpoints["single"], tmp_path / "out")
    documents = [
        document("plan", *arguments, "-n"),
        document("writer", *arguments),
        document("writer", *arguments),
    ]
    assert [found["companions"] for found in documents] == [["config.json", "tokenizer.json"]] * 3
    assert (
        document("plan", *arguments[:2], tmp_path / "bare", "-n", "--no-companions")["companions"]
        == []
    )


def test_what_diff_prints(checkpoints: dict[str, Path], document: Document) -> None:
    """Equal checkpoints, and tensors that differ, fit the schema of diff."""
    assert document("diff", "diff", checkpoints["single"], checkpoints["sharded-bin"])["same"]
    single = checkpoints["single"]
    renamed = ("--add-prefix", "x.", "--stats")
    assert document("diff", "diff", single, single, *renamed, code=1)["changes"]


def test_a_plan_that_is_applied(
    checkpoints: dict[str, Path], document: Document, tmp_path: Path
) -> None:
    """A part, the commit and a plan that is applied whole each fit their schema."""
    planned = document(
        "plan", "split", checkpoints["single"], tmp_path / "out", "--num-shards=2", "--dry-run"
    )
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(planned))
    part = document("apply", "apply", plan, "--part", "1/2")
    assert (part["part"], part["complete"]) == ({"number": 1, "of": 2}, False)
    assert sorted(shard["state"] for shard in part["shards"]) == ["missing", "written"]
    assert document("apply", "apply", plan, "--part", "2/2")["complete"]
    committed = document("writer", "apply", plan, "--commit")
    assert (committed["command"], committed["done"]) == ("apply", True)
    assert committed["plan_id"] == planned["plan_id"] == part["plan_id"]
    assert document("writer", "apply", plan)["up_to_date"]


def test_limits_in_a_plan(checkpoints: dict[str, Path], document: Document, tmp_path: Path) -> None:
    """Every way to limit shards and to choose tensors, a variant, and a tensor over the limit fit
    the plan's schema.
    """
    target = tmp_path / "out"
    for options in (
        ("--max-shard-size", "600", "--strict-size"),
        ("--num-shards", "2", "--variant", "fp16"),
        ("--single", "--to", "bin", "--order", "natural", "--tied", "expand"),
        ("--include", "*", "--exclude", "a", "--add-prefix", "p.", "--rename", "^p=q"),
        ("--add-prefix", "p.", "--strip-prefix", ""),
        *(("--to", known.name) for known in writable()),
    ):
        document("plan", "reshard", checkpoints["sharded"], target, *options, "-n")
    assert document(
        "plan", "split", checkpoints["single"], target, "--max-shard-size", "100", "-n"
    )["oversize"]
    merged = document("plan", "merge", checkpoints["sharded"], tmp_path / "one.safetensors", "-n")
    assert merged["plan"]["options"]["filename"] == "one.safetensors"


def test_torchs_own(document: Document, tmp_path: Path) -> None:
    """Tied tensors, a type that only torch has, a nested state dict and a legacy file fit the
    schemas.
    """
    import torch

    weight = torch.ones(2, 3, dtype=torch.complex128)
    tied = write_torch(
        tmp_path / "tied" / "pytorch_model.bin",
        {"w": weight, "v": weight, "scalar": torch.tensor(1.0)},
    )
    found = document("inspect", "inspect", tied)
    assert {tensor["dtype"] for tensor in found["tensors"]} == {"complex128", "F32"}
    assert [tensor["tied_to"] for tensor in found["tensors"]] == [None, "w", None]
    document("writer", "split", tied, tmp_path / "out", "--num-shards", "2")
    nested = write_torch(tmp_path / "nested.pt", {"state_dict": {"w": torch.ones(1)}, "step": 3})
    document("inspect", "inspect", nested)
    document("verify", "verify", nested)
    legacy = tmp_path / "legacy" / "pytorch_model.bin"
    legacy.parent.mkdir()
    torch.save({"w": torch.ones(2)}, legacy, _use_new_zipfile_serialization=False)
    assert document("inspect", "inspect", legacy)["container"] == "bin"


def test_findings(checkpoints: dict[str, Path], document: Document) -> None:
    """Findings of files, of the index, of checksums and of a comparison fit the schema, with places
    and without.
    """
    sharded, single = checkpoints["sharded"], checkpoints["single"]
    shard = sharded / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-10])
    (sharded / "model-00002-of-00002.safetensors").unlink()
    (sharded / "SHA256SUMS").write_text("")
    found = document("verify", "verify", sharded, "--deep", "--against", single, "--strict", code=1)
    assert not found["ok"]
    assert {"file-truncated", "index-shard-missing"} <= {
        finding["code"] for finding in found["findings"]
    }


def test_index(checkpoints: dict[str, Path], document: Document) -> None:
    """An index that is right, one that would be changed, and one that was."""
    sharded = checkpoints["sharded"]
    sound = document("index", "index", sharded)
    assert (sound["done"], sound["up_to_date"]) == (True, True)
    (sharded / "model.safetensors.index.json").unlink()
    assert document("index", "index", sharded, "--check", code=1)["changes"]
    assert document("index", "index", sharded)["done"] is True


# errors


def error(call: Call, code: int, *arguments: object) -> dict[str, Any]:
    """The one line of an error, checked."""
    out, err = call(*arguments, "--json", code=code)
    assert out == ""
    found = json.loads(err)
    check(found, "error")
    assert found["exit_code"] == code
    return dict(found)


def test_errors(checkpoints: dict[str, Path], call: Call, tmp_path: Path) -> None:
    """An error of each exit code that a user can bring about is a line that fits the schema."""
    single = checkpoints["single"]
    damaged = write_floats(tmp_path / "damaged" / "model.safetensors", {"a": 8})
    damaged.write_bytes(damaged.read_bytes()[:-1])
    target = tmp_path / "out"
    (tmp_path / "busy" / ".shardctl").mkdir(parents=True)
    assert error(call, 2, "split", single)["error"] == "usage"
    assert (
        error(call, 2, "split", single, target, "--max-shard-size", "300", "--strict-size")[
            "tensor"
        ]
        == "a"
    )
    assert error(call, 3, "inspect", tmp_path / "nowhere")["error"] == "not-found"
    assert error(call, 3, "split", damaged, target)["offset"] is not None
    assert error(call, 4, "split", single, checkpoints["sharded"])["error"] == "target-exists"
    with LocalStore().lock(str(tmp_path / "busy" / ".shardctl" / "lock")):
        assert error(call, 4, "split", single, tmp_path / "busy")["error"] == "locked"
    assert error(call, 5, "split", single, single / "config.json" / "out")["error"] == "storage"


@pytest.mark.parametrize(
    ("raised", "code"),
    [(RuntimeError("x"), 70), *((Stopped(number), 128 + number) for number in (1, 2, 15))],
)
def test_bugs_and_signals(
    call: Call, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int
) -> None:
    """A bug and each signal that stops a run are lines of the same shape."""

    def broken(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(preparing, "prepare_all", broken)
    found = error(call, code, "split", "a", "b")
    assert found["error"] == ("internal-error" if code == 70 else "stopped")


# pipelines


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A pipeline of three components."""
    return written_pipeline(tmp_path / "pipeline")


def test_a_pipeline(document: Document, tree: Path, tmp_path: Path) -> None:
    """One document has all components, each as its own command would print it."""
    out, every = tmp_path / "out", ["text_encoder", "unet", "vae"]
    found = document("pipeline", "inspect", tree)
    assert [each["name"] for each in found["components"]] == every
    assert found["components"][1]["document"] == document("inspect", "inspect", tree / "unet")
    planned = document("pipeline", "split", tree, out, "--max-shard-size", 150, "--dry-run")
    assert planned["room"]["needed"] > 0
    assert (planned["done"], planned["up_to_date"]) == (False, False)
    made = document("pipeline", "split", tree, out, "--max-shard-size", 150)
    assert (made["done"], made["loads_from"]) == (True, str(out))
    assert made["companions"][-1] == "model_index.json"
    assert document("pipeline", "split", tree, out, "--max-shard-size", 150)["up_to_date"]
    compared = document("verify", "verify", out, "--against", tree, "--deep")
    assert [(each["name"], each["ok"]) for each in compared["components"]] == [
        (name, True) for name in every
    ]
    (out / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"x" * 50)
    broken = document("verify", "verify", out, code=1)
    assert [each["ok"] for each in broken["components"]] == [True, True, False]


# progress


def events(lines: Sequence[str]) -> list[dict[str, Any]]:
    """The events among the lines of stderr, checked."""
    found = [json.loads(line) for line in lines if line.startswith("{")]
    for event in found:
        check(event, "progress")
    return found


def test_progress_events(
    checkpoints: dict[str, Path], call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event of a run fits the schema; the first and the last are there, and each file is done
    once.
    """
    monkeypatch.setattr("shardctl.cli.progress.observers.JSON_SECONDS", 0.0)
    arguments = (
        "split",
        checkpoints["single"],
        tmp_path / "out",
        "--num-shards",
        "3",
        "--progress",
        "json",
    )
    found = events(call(*arguments)[1].splitlines())
    names = [event["event"] for event in found]
    assert (names[0], names[-2:]) == ("start", ["committing", "done"])
    assert set(names) == {"start", "advance", "syncing", "shard-done", "committing", "done"}
    done = [event["file"] for event in found if event["event"] == "shard-done"]
    assert sorted(done) == sorted(found[0]["files"])
    assert found[-1]["total"] == found[0]["total"]
