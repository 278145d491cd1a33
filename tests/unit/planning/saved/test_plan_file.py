"""The plan file, read back: what a writer printed, and nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from shardctl.errors import FormatError
from shardctl.planning.request import (
    Conversion,
    Experts,
    Limits,
    Selection,
    WriteOptions,
)
from shardctl.planning.saved.plan_file import PlanFile, PlannedFile, parse_plan_file, settings_of
from shardctl.planning.transform.expert_rules import parse_map

DIGEST = "0" * 64
#: Options with every field of a plan file away from its default.
ASKED = WriteOptions(
    limits=Limits(max_shard_bytes=700, strict=True),
    format="bin",
    order="natural",
    stem="other",
    variant="fp16",
    key="model.ema",
    selection=Selection(("a*", "b"), ("c",), "x.", "y.", (("^a", "b"), ("c", ""))),
    drop_non_tensors=True,
    experts=Experts("stack", parse_map('{"mlp.down": ["mlp.*.down.weight"]}')),
    conversion=Conversion("BF16", ("norm.*",)),
    group_by="layer",
    tied="expand",
    layout="compact",
    companions="all",
    read_back=True,
    accept_damage=True,
    checksums=True,
)


def document(options: WriteOptions = ASKED, **changes: object) -> dict[str, Any]:
    """A plan of one shard, as a writer prints it."""
    head = {
        "schema_version": 1,
        "command": "split",
        "done": False,
        "up_to_date": False,
        "source": "model",
        "target": "sharded",
        "loads_from": "sharded/model.safetensors",
        "container": "safetensors",
        "total_size": 100,
        "max_shard_size": 700,
        "plan_id": DIGEST,
        "shards": [{"name": "s", "size": 1, "data_size": 1, "tensors": ["a"], "sha256": None}],
        "oversize": [],
        "copied": {"kernel": 0, "shared": 0, "buffered": 0},
        "companions": ["config.json"],
        "superseded": [],
        "not_carried": [],
        "damaged": [],
    }
    content = ["sample", DIGEST]
    plan = {
        "layout_version": 1,
        "layout": "compact",
        "block_size": 8,
        "options": {"container": "bin", "num_shards": None, "rename": [["a", "b"]]},
        "settings": settings_of(options),
        "sources": [{"name": "s", "size": 9, "header_sha256": DIGEST, "content": content}],
        "companions": [{"name": "config.json", "size": 2, "content": ["version", '"etag"']}],
    }
    return {**head, "plan": plan, "room": {"needed": 1, "free": None}, **changes}


def parsed(value: object) -> PlanFile:
    """What a document is read as."""
    return parse_plan_file(json.dumps(value).encode(), "plan.json")


@pytest.mark.parametrize(
    "limits",
    [
        None,
        Limits(),
        Limits(num_shards=3),
        Limits(max_shard_bytes=700),
        Limits(max_shard_bytes=700, strict=True),
    ],
)
def test_options_come_back(limits: Limits | None) -> None:
    """Whatever was asked for is what a plan asks for."""
    options = replace(ASKED, limits=limits)
    assert parsed(document(options)).options == options


def test_every_option_is_recorded() -> None:
    """No field of the options is left out but what decides about a target at hand."""
    left_out = {"replace", "replace_companions", "block"}
    default = WriteOptions(limits=None)
    for field in fields(WriteOptions):
        same = getattr(ASKED, field.name) == getattr(default, field.name)
        assert same == (field.name in left_out), field.name
    changed = {
        name for name, value in settings_of(ASKED).items() if value != settings_of(default)[name]
    }
    assert changed == settings_of(default).keys() - {"num_shards", "single"}


def test_defaults_come_back() -> None:
    """A plan of defaults asks for defaults, in the layout that was decided."""
    found = parsed(document(WriteOptions(limits=None))).options
    assert found == WriteOptions(limits=None, layout="compact")


def test_a_reflink_layout_keeps_its_block() -> None:
    """The block that was found possible is the one that is padded for, wherever it is applied."""
    plan = document()
    plan["plan"] |= {"layout": "shareable", "block_size": 8192}
    found = parsed(plan).options
    assert (found.layout, found.block) == ("reflink", 8192)


def test_what_may_be_replaced_is_not_recorded() -> None:
    """A plan that was made to replace everything asks for nothing to be replaced."""
    asked = replace(ASKED, replace="all", replace_companions=True)
    found = parsed(document(asked))
    assert found.options == ASKED
    assert found.options_for("same", replace_companions=True) == replace(
        ASKED, replace="same", replace_companions=True
    )


def test_files_come_back() -> None:
    """A plan says what it was made from: names, sizes, headers, and how to know the contents."""
    plan = parsed(document(more_sources=["b"]))
    assert (plan.sources, plan.target, plan.is_pipeline) == (("model", "b"), "sharded", False)
    run = plan.runs[""]
    assert run.plan_id == DIGEST
    assert [(file.name, file.size, file.content) for file in (*run.sources, *run.companions)] == [
        ("s", 9, ("sample", DIGEST)),
        ("config.json", 2, ("version", '"etag"')),
    ]


def pipeline(**documents: dict[str, Any]) -> dict[str, Any]:
    """The plan of a pipeline with these components."""
    kept = (
        "schema_version command done up_to_date source target loads_from total_size companions "
        "superseded not_carried room"
    )
    whole = document()
    components = [{"name": name, "document": each} for name, each in documents.items()]
    head = {key: whole[key] for key in kept.split()}
    beside = [{"name": "model_index.json", "size": 2, "content": ["sample", DIGEST]}]
    return {**head, "components": components, "plan": {"companions": beside}}


def test_a_pipeline_comes_back() -> None:
    """Each component has a separate run, and all have one set of settings."""
    plan = parsed(pipeline(unet=document(), vae=document(plan_id="1" * 64)))
    assert plan.is_pipeline
    assert {name: run.plan_id for name, run in plan.runs.items()} == {
        "unet": DIGEST,
        "vae": "1" * 64,
    }
    assert plan.beside == (PlannedFile("model_index.json", 2, "", ("sample", DIGEST)),)
    other = document(WriteOptions(limits=None))
    for wrong in (pipeline(), pipeline(unet=document(), vae=other), pipeline(**{"": document()})):
        with pytest.raises(FormatError):
            parsed(wrong)


Change = Callable[[dict[str, Any]], object]
#: What is wrong with a plan, and what the message says of it.
WRONG: dict[str, tuple[Change, str]] = {
    "no version": (lambda plan: plan.pop("schema_version"), "has no version"),
    "later version": (lambda plan: plan.update(schema_version=2), "the version 2"),
    "version of another type": (lambda plan: plan.update(schema_version=True), "version True"),
    "unknown key": (lambda plan: plan.update(token="x"), "unknown key 'token'"),  # noqa: S106
    "missing key": (lambda plan: plan.pop("plan_id"), "no 'plan_id'"),
    "earlier version": (lambda plan: plan["plan"].pop("settings"), "earlier version"),
    "done": (lambda plan: plan.update(done=True), "'done'"),
    "other layout": (lambda plan: plan["plan"].update(layout_version=9), "layout 9"),
    "unknown setting": (lambda plan: plan["plan"]["settings"].update(x=1), "unknown key 'x'"),
    "replaces": (
        lambda plan: plan["plan"]["settings"].update(replace="all"),
        "unknown key 'replace'",
    ),
    "no text": (lambda plan: plan.update(source=["model"]), "'source'"),
    "no number": (lambda plan: plan["plan"]["settings"].update(num_shards="2"), "'num_shards'"),
    "no switch": (lambda plan: plan["plan"]["settings"].update(checksums=1), "'checksums'"),
    "negative": (lambda plan: plan["plan"]["settings"].update(max_shard_size=-1), "'max_shard_"),
    "no digest": (lambda plan: plan.update(plan_id="x"), "'plan_id'"),
    "unknown order": (lambda plan: plan["plan"]["settings"].update(order="x"), "`order`"),
    "unknown type": (lambda plan: plan["plan"]["settings"].update(dtype="x"), "cannot be"),
    "two limits": (
        lambda plan: plan["plan"]["settings"].update(num_shards=2, single=True),
        "together",
    ),
    "unknown experts": (lambda plan: plan["plan"]["settings"].update(experts="x"), "'experts'"),
    "rules for nothing": (lambda plan: plan["plan"]["settings"].update(experts=None), "experts"),
    "rules without a number": (
        lambda plan: plan["plan"]["settings"].update(experts_map=[["a", "b"]]),
        "experts_map",
    ),
    "a rename of one": (lambda plan: plan["plan"]["settings"].update(rename=[["a"]]), "'rename'"),
    "huge block": (
        lambda plan: plan["plan"].update(layout="shareable", block_size=2**40),
        "the largest",
    ),
    "no block": (lambda plan: plan["plan"].update(block_size=0), "'block_size'"),
    "a size of another type": (
        lambda plan: plan["plan"]["sources"][0].update(size=1.5),
        "'size'",
    ),
    "contents of another form": (
        lambda plan: plan["plan"]["sources"][0].update(content=["sample"]),
        "'content'",
    ),
    "options of another form": (lambda plan: plan["plan"].update(options={"a": {}}), "'options'"),
    "a list for an object": (lambda plan: plan.update(plan=[]), "'plan'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_a_plan_is_refused(name: str) -> None:
    """An unknown version or key, a missing key and a value of another type: each error says it."""
    change, said = WRONG[name]
    plan = copy.deepcopy(document())
    change(plan)
    with pytest.raises(FormatError) as caught:
        parsed(plan)
    assert caught.value.code == "plan-invalid"
    assert said in caught.value.message
    assert caught.value.file == "plan.json"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b'{"schema_version": 1, "schema_version": 1}',
        b'{"schema_version": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"schema_version": 1, "a": ' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"a": [' + b"{}," * 400_000 + b"{}]}",
        b'{"schema_version": NaN}',
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    """Bytes that are not a JSON object, ambiguous, or made to take memory are refused."""
    with pytest.raises(FormatError) as caught:
        parse_plan_file(data, "plan.json")
    assert caught.value.code == "plan-invalid"


@pytest.mark.parametrize("where", ["", "plan", "settings"])
def test_a_key_twice_is_refused(where: str) -> None:
    """At whatever level: readers take the first or the last of them."""
    text = json.dumps(document())
    key = {"": '"source":', "plan": '"layout":', "settings": '"order":'}[where]
    doubled = text.replace(key, f'{key} "compact", {key}', 1)
    with pytest.raises(FormatError, match="twice"):
        parse_plan_file(doubled.encode(), "plan.json")
