"""The table of directories: what each holds, and what is expected of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tests.support.directories import (
    BIN_INDEX,
    BIN_SHARDS,
    DIFFUSION,
    FP16,
    FREE,
    INDEX,
    PAIR,
    RANKED,
    SHARDS,
    SIX,
    ZERO,
    Step,
    bin_sharded,
    index,
    mixed,
    names_of,
    remove,
    sharded,
    shards,
    text,
    weights,
)


@dataclass(frozen=True)
class State:
    """A directory and what is expected of it.

    `merge` is the generation that is written, or the exit code with a minus; `found` are the
    findings of `verify`, None where it cannot begin; `index` is the exit code of `index --check`.
    `loads` are the generations that transformers, huggingface_hub and accelerate load: 0 for none,
    None where it changes from run to run (the hub's library loads shards in the order of a set).
    `shown`: `inspect` shows what can be read, though writers refuse it.
    """

    name: str
    steps: Sequence[Step]
    merge: int
    found: Collection[str] | None
    index: int
    loads: tuple[int | None, ...]
    shown: bool = False


# One row for each state, so that the table stays a table.
# fmt: off
STATES = [
    State("a single file", (weights("model.safetensors"),), 1, set(), 2, (1, 1, 1)),
    State("a single torch file", (weights("pytorch_model.bin"),), 1, set(), 2, (1, 1, 1)),
    State("two formats, equal", (weights("model.safetensors"), weights("pytorch_model.bin"),), 1,
          {"note folder-ambiguous"}, 2, (1, 1, 1)),
    State("two formats, equal names, other values", (weights("model.safetensors"),
          weights("pytorch_model.bin", 2),), 1, {"note folder-ambiguous"}, 2, (1, 1, 2)),
    State("two formats, other tensors", (weights("model.safetensors"), weights("pytorch_model.bin",
          2, "ab"),), 1, {"error folder-ambiguous"}, 2, (1, 1, 0)),
    State("a set", (sharded(),), 1, set(), 0, (1, 1, 1)),
    State("a torch set", (bin_sharded(),), 1, set(), 0, (1, 1, 1)),
    State("a set without an index", (shards(SHARDS),), 1, {"warning index-missing"}, 1, (0, 0, 0)),
    State("a torch set without an index", (shards(BIN_SHARDS),), 1, {"warning index-missing"}, 1,
          (0, 0, 0)),
    State("a single file beside a set", (weights("model.safetensors"), sharded(2),), 1,
          {"error folder-ambiguous"}, 2, (1, 2, 1)),
    State("a single torch file beside a set", (weights("pytorch_model.bin", 2), sharded(),), 1,
          {"note folder-ambiguous"}, 0, (1, 1, 2)),
    State("a single file beside a torch set", (weights("model.safetensors"), bin_sharded(),), 1,
          {"note folder-ambiguous"}, 2, (1, 1, 1)),
    State("sets in two formats", (sharded(), bin_sharded(),), 1, {"note weights-unlisted"}, 0, (1,
          1, 0)),
    State("a torch file beside a set without an index", (weights("pytorch_model.bin"),
          shards(SHARDS, 2),), 1, {"note weights-unlisted"}, 2, (1, 1, 1)),
    State("a variant beside the model", (weights("model.safetensors"),
          weights("model.fp16.safetensors", 2),), 1, {"note weights-unlisted"}, 2, (1, 0, 1)),
    State("a variant alone", (weights("model.fp16.safetensors"),), 1, set(), 2, (0, 1, 0)),
    State("a variant in two formats", (weights("model.fp16.safetensors"),
          weights("pytorch_model.fp16.bin"),), -2, {"note folder-ambiguous"}, 2, (0, 1, 0)),
    State("two variants and no model", (weights("model.fp16.safetensors"),
          weights("model.bf16.safetensors", 2),), -2, {"note folder-ambiguous"}, 2, (0, 0, 0)),
    State("a variant's set", (shards(FP16), index("model.safetensors.index.fp16.json", FP16),), 1,
          set(), 0, (0, 0, 0)),
    State("a variant's set with the hub's index", (shards(FP16),
          index("model.fp16.safetensors.index.json", FP16),), 1, set(), 0, (0, 0, 1)),
    State("a variant's set beside the model", (weights("model.safetensors"), shards(FP16, 2),
          index("model.safetensors.index.fp16.json", FP16),), 1, {"note weights-unlisted"}, 2, (1,
          0, 1)),
    State("an original release beside the model", (weights("model.safetensors"),
          weights("consolidated.safetensors", 2),), 1, {"note weights-unlisted"}, 2, (1, 0, 1)),
    State("an original release beside a set", (sharded(), weights("consolidated.safetensors", 2),),
          1, {"note weights-unlisted"}, 0, (1, 1, 1)),
    State("an original release beside a set without an index", (shards(SHARDS),
          weights("consolidated.safetensors", 2),), 1, {"note weights-unlisted",
          "warning index-missing"}, 1, (0, 0, 0)),
    State("an original release alone", (weights("consolidated.safetensors"),), 1, set(), 2, (0, 1,
          0)),
    State("a stale index beside a single file", (weights("model.safetensors"), index(INDEX,
          SHARDS),), 1, {"error index-shard-missing"}, 2, (1, 0, 1)),
    State("a stale index beside a torch file", (weights("pytorch_model.bin"), index(INDEX,
          SHARDS),), 1, {"error index-shard-missing"}, 2, (0, 0, 1)),
    State("a stale index beside another set", (shards(SHARDS), index(INDEX,
          names_of("model-{i:05d}-of-00004.safetensors")),), 1, {"error index-shard-missing"}, 1,
          (0, 0, 0)),
    State("the index of torch files that are not there", (sharded(), index(BIN_INDEX,
          BIN_SHARDS),), 1, {"note index-shard-missing"}, 0, (1, 1, 0)),
    State("the index of safetensors that are not there", (bin_sharded(), index(INDEX, SHARDS),), 1,
          {"error index-shard-missing"}, 0, (0, 0, 0)),
    State("both indexes and no files", (index(INDEX, SHARDS), index(BIN_INDEX, BIN_SHARDS),), -3,
          {"error index-shard-missing", "note weights-unlisted"}, 3, (0, 0, 0)),
    State("an index that is not JSON beside a single file", (weights("model.safetensors"),
          text(INDEX, "{"),), 1, {"error folder-ambiguous", "error index-invalid"}, 2, (1, 0, 1)),
    State("six digits", (shards(SIX), index(INDEX, SIX),), 1, set(), 0, (1, 1, 1)),
    State("six digits without an index", (shards(SIX),), 1, {"warning index-missing"}, 1, (0, 0,
          0)),
    State("numbers from 0", (shards(ZERO), index(INDEX, ZERO),), 1, set(), 0, (1, 1, 1)),
    State("numbers from 0 without an index", (shards(ZERO),), 1, {"warning index-missing"}, 1, (0,
          0, 0)),
    State("numbers after an underscore",
          (shards(names_of("pytorch_model_{i:05d}-of-{n:05d}.bin")),), 1,
          {"warning index-missing"}, 1, (0, 0, 0)),
    State("numbers alone", (shards(names_of("model-{i}.safetensors")),), 1,
          {"warning index-missing"}, 1, (0, 0, 0)),
    State("numbers alone, from 0", (shards(names_of("out-{i:05d}.safetensors", first=0)),), 1,
          {"warning index-missing"}, 1, (0, 0, 0)),
    State("numbers and a rank", (shards(RANKED),), 1, {"warning index-missing"}, 1, (0, 0, 0)),
    State("torch files under the index of safetensors", (shards(RANKED), index(INDEX, RANKED),), 1,
          {"warning shard-name-unsafe"}, 0, (1, 0, 1)),
    State("one of one without an index", (weights("model-00001-of-00001.safetensors"),), 1,
          {"warning index-missing"}, 1, (0, 1, 0)),
    State("one of one with an index", (weights("model-00001-of-00001.safetensors"), index(INDEX,
          ["model-00001-of-00001.safetensors"] * 3),), 1, set(), 0, (1, 1, 1)),
    State("an index of names with a dot", (shards(SHARDS), index(INDEX, [f"./{name}" for name in
          SHARDS]),), 1, set(), 1, (1, 1, 1)),
    State("an index of a directory below", (shards([f"sub/{name}" for name in SHARDS]),
          index(INDEX, [f"sub/{name}" for name in SHARDS]),), 1, set(), 0, (1, 1, 1)),
    State("an index of names with a backslash", (shards([f"sub/{name}" for name in SHARDS]),
          index(INDEX, [f"sub\\{name}" for name in SHARDS]),), 1, {"warning index-invalid"}, 1, (0,
          0, 0)),
    State("an index of one torch file among others", (shards([*SHARDS[:2], "c.bin"]), index(INDEX,
          [*SHARDS[:2], "c.bin"]),), -3, {"error shard-name-unsafe", "error shard-set-incomplete"},
          3, (1, 0, 1), shown=True),
    State("an index of files that lead out", (sharded(), index(INDEX, [f"../{name}" for name in
          SHARDS]),), -3, {"error shard-name-unsafe", "note weights-unlisted"}, 3, (0, 0, 0)),
    State("accelerate's index", (shards(FREE), index("weight_map.index.json", FREE),), 1, set(), 0,
          (0, 0, 1)),
    State("accelerate's flat index", (shards(FREE), index("weight_map.index.json", FREE,
          flat=True),), 1, {"note index-metadata-missing"}, 1, (0, 0, 1)),
    State("accelerate's index of one file", (weights("x.safetensors"), index(
          "weight_map.index.json", ["x.safetensors"] * 3),), 1, set(), 0, (0, 1, 1)),
    State("a flat index of the usual name", (sharded(), index(INDEX, SHARDS, flat=True),), 1,
          {"warning index-metadata-missing"}, 1, (0, 0, 1)),
    State("an index of another model in the same files", (shards(SHARDS), index(INDEX, dict(zip(
          "xyz", SHARDS, strict=True))),), -3, {"error index-tensor-missing"}, 1, (1, 1,
          1), shown=True),
    State("an overlay that is the last file", (mixed(PAIR[0], {"a": 2, "b": 1}), weights(PAIR[1],
          1, "c"), weights("overlay.safetensors", 1, "a"), index(INDEX, ["overlay.safetensors",
          *PAIR]),), 1, {"note tensor-in-several-shards"}, 0, (1, None, 1)),
    State("an overlay that is the first file", (mixed(PAIR[0], {"a": 2, "b": 1}), weights(PAIR[1],
          1, "c"), weights("a.safetensors", 1, "a"), index(INDEX, ["a.safetensors", *PAIR]),), 1,
          {"warning tensor-in-several-shards"}, 0, (0, None, 0)),
    State("files of several epochs", (weights("epoch-1.pt"), weights("epoch-2.pt", 2),), -2,
          {"note folder-ambiguous"}, 2, (0, 0, 0)),
    State("an adapter beside the model", (weights("model.safetensors"),
          weights("adapter_model.safetensors", 2),), -2, {"note folder-ambiguous"}, 2, (1, 0, 1)),
    State("an adapter alone", (weights("adapter_model.safetensors"),), 1, set(), 2, (0, 1, 0)),
    State("a diffusion model beside its index", (weights("diffusion_pytorch_model.safetensors", 2),
          shards(DIFFUSION), index("diffusion_pytorch_model.safetensors.index.json", DIFFUSION),),
          1, {"note weights-unlisted"}, 0, (0, 0, 1)),
    State("a free name", (weights("lora.safetensors"),), 1, set(), 2, (0, 1, 0)),
    State("two free names", (weights("x.safetensors"), weights("y.safetensors", 2),), -2,
          {"note folder-ambiguous"}, 2, (0, 0, 0)),
    State("a name that ends in .pth.tar", (weights("best.pth.tar"),), 1, set(), 2, (0, 0, 0)),
    State("a name that ends in .th", (weights("best.th"),), 1, set(), 2, (0, 0, 0)),
    State("a missing shard", (shards(SHARDS), index(INDEX, SHARDS), remove(SHARDS[1]),), -3,
          {"error index-shard-missing"}, 3, (0, 0, 0), shown=True),
    State("a missing shard and no index", (shards(SHARDS), remove(SHARDS[1]),), -3,
          {"error shard-set-incomplete"}, 3, (0, 0, 0), shown=True),
    State("a shard that the index leaves out", (shards(SHARDS), index(INDEX, {"a": SHARDS[0], "b":
          SHARDS[1]}),), -3, {"error shard-unlisted"}, 1, (0, 0, 0), shown=True),
    State("small weights beside a set", (sharded(), weights("mm_projector.bin", 2, "d"),
          weights("value_head.safetensors", 2, "e"),), 1, set(), 0, (1, 1, 1)),
    State("a shard left over from another count", (sharded(),
          weights("model-00001-of-00005.safetensors", 2, "a"),), 1, {"note weights-unlisted"}, 0,
          (1, 1, 1)),
    State("two counts and no index", (shards(SHARDS), weights("model-00001-of-00005.safetensors",
          2, "a"),), -2, {"error shard-set-incomplete", "note folder-ambiguous",
          "warning index-missing"}, 2, (0, 0, 0)),
    State("training state beside the model", (weights("model.safetensors"), weights("optimizer.pt",
          2), weights("training_args.bin", 2),), 1, set(), 2, (1, 1, 1)),
    State("an unfinished download", (text("model.safetensors.incomplete", "xx"),), -3, None, 3, (0,
          0, 0)),
    State("an unpacked torch file", (text("archive/data.pkl", "x"), text("archive/version", "3"),
          text("archive/data/0", "x"),), -3, None, 3, (0, 0, 0)),
    State("a model in the hub's cache", (text("blobs/x"), text("refs/main", "f00"),
          weights("snapshots/f00/model.safetensors"), weights("snapshots/bar/model.safetensors",
          2),), 1, set(), 2, (0, 0, 0)),
    State("nothing", (text("config.json", "{}"),), -3, None, 3, (0, 0, 0)),
]
# fmt: on
