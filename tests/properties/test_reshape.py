"""Whatever is chosen, converted, stacked, split and grouped, the result is what torch gives."""

from __future__ import annotations

import contextlib
import fnmatch
import io
import json
import random
import re
import tempfile
from pathlib import Path
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.dcp_files import load_dcp, save_sliced
from tests.support.program import call_cli
from tests.support.state_dicts import assert_equal, load, result, save

_FORMATS = ("safetensors", "bin", "dcp")
#: The names of an expert's gate, up and down projection, by the module of the experts.
_FAMILIES = {
    "mlp.experts": ("gate_proj", "up_proj", "down_proj"),
    "block_sparse_moe.experts": ("w1", "w3", "w2"),
}
_State = dict[str, torch.Tensor]


def _model(chance: random.Random, module: str, layers: int, experts: int) -> _State:
    """A model with a tensor for each part of each expert, in any order; some are views."""
    gate, up, down = _FAMILIES[module]
    tensors: _State = {"embed.weight": torch.randn(4, 3), "head.weight": torch.randn(4, 3)}
    for layer in range(layers):
        tensors[f"h.{layer}.attn.weight"] = torch.randn(3, 3)
        for expert in range(experts):
            name = f"h.{layer}.{module}.{expert}"
            both = torch.randn(4, 3)
            tensors |= {f"{name}.{gate}.weight": both[:2], f"{name}.{up}.weight": both[2:]}
            tensors[f"{name}.{down}.weight"] = torch.randn(2, 3).t()
    names = chance.sample(list(tensors), len(tensors))
    return {name: tensors[name] for name in names}


def _stacked(tensors: _State, module: str) -> _State:
    """The same with the experts of each layer stacked, the plain way."""
    gate, up, down = _FAMILIES[module]
    found = rf"(.*{re.escape(module)})\.(\d+)\.\w+\.weight"
    matches = [match for name in tensors if (match := re.fullmatch(found, name))]
    made = {name: tensor for name, tensor in tensors.items() if not re.fullmatch(found, name)}
    for prefix in {match[1] for match in matches}:
        count = 1 + max(int(match[2]) for match in matches if match[1] == prefix)

        def all_of(part: str, prefix: str = prefix, count: int = count) -> torch.Tensor:
            return torch.stack([tensors[f"{prefix}.{n}.{part}.weight"] for n in range(count)])

        made[f"{prefix}.gate_up_proj"] = torch.cat([all_of(gate), all_of(up)], dim=1)
        made[f"{prefix}.down_proj"] = all_of(down)
    return made


def _group(name: str, group_by: str) -> str:
    """The group of a name, the plain way, for the names above: at least two layers."""
    layer = re.match(r"(new\.)?h\.\d+", name)
    inner = re.match(r"(new\.)?h\.\d+\.\w+\.experts\.\d+(?=\.)", name)
    if group_by == "expert" and inner:
        return inner[0]
    return layer[0] if layer else name.rpartition(".")[0]


def _save(tensors: _State, directory: Path, format_name: str, chance: random.Random) -> Path:
    """Save a model in one file, or as slices of several ranks."""
    if format_name == "dcp":
        return save_sliced(tensors, directory, chance)
    return save(tensors, directory / f"model.{format_name}")


def _document(source: Path, target: Path, *options: str) -> dict[str, Any]:
    """What `reshard` prints with `--json`."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        call_cli("reshard", source, target, *options, "--json", "-q")
    document = json.loads(printed.getvalue())
    assert isinstance(document, dict)
    return document


@settings(max_examples=30)
@given(
    st.sampled_from(sorted(_FAMILIES)),
    st.sampled_from(["", "stack", "split"]),
    st.sampled_from(["", "bf16", "f16"]),
    st.sampled_from(["", "layer", "expert"]),
    st.sampled_from([(), ("--exclude", "head.*"), ("--include", "h.*", "--add-prefix", "new.")]),
    st.sampled_from([(), ("--max-shard-size", "200"), ("--num-shards", "2")]),
    st.sampled_from(["source", "natural"]),
    st.tuples(st.sampled_from(_FORMATS), st.sampled_from(_FORMATS)),
    st.tuples(st.integers(2, 3), st.integers(2, 4)),
    st.integers(0, 1 << 32),
)
def test_any_combination_is_what_torch_would_do(
    module: str,
    experts: str,
    dtype: str,
    group_by: str,
    selection: tuple[str, ...],
    size: tuple[str, ...],
    order: str,
    formats: tuple[str, str],
    counts: tuple[int, int],
    seed: int,
) -> None:
    """The result has the names, types and bits that torch gives in memory, no group is in two
    shards, the same plan is made again, and the same options prove the result.
    """
    torch.manual_seed(seed % (1 << 31))
    each = _model(random.Random(seed), module, *counts)
    whole = _stacked(each, module)
    source, expected = (whole, each) if experts == "split" else (each, each)
    expected = whole if experts == "stack" else expected
    if "--exclude" in selection:
        expected = {name: t for name, t in expected.items() if not fnmatch.fnmatch(name, "head.*")}
    if "--include" in selection:
        expected = {f"new.{name}": t for name, t in expected.items() if name.startswith("h.")}
    to = {"bf16": torch.bfloat16, "f16": torch.float16}.get(dtype, torch.float32)
    expected = {name: tensor.contiguous().to(to) for name, tensor in expected.items()}
    made = [
        *selection,
        *(("--experts", experts) if experts else ()),
        *(("--dtype", dtype) if dtype else ()),
    ]
    options = [
        *("--to", formats[1], "--order", order, *made, *size),
        *(("--group-by", group_by) if group_by else ()),
    ]
    with tempfile.TemporaryDirectory() as directory:
        path = _save(source, Path(directory, "source"), formats[0], random.Random(seed))
        out = Path(directory, "target")
        plans = [_document(path, out, *options, "--dry-run") for _ in range(2)]
        assert plans[0]["plan_id"] == plans[1]["plan_id"]
        document = _document(path, out, *options, "--verify")
        assert document["plan_id"] == plans[0]["plan_id"]
        found = load_dcp(out) if formats[1] == "dcp" else load(result(out))
        assert_equal(found, expected)
        call_cli("verify", out, "--deep", "--against", path, *made, "-q")
    shards = [shard["tensors"] for shard in document["shards"]]
    if group_by:
        homes = {(_group(name, group_by), n) for n, names in enumerate(shards) for name in names}
        assert len(homes) == len({group for group, _ in homes})
        assert size or len(homes) == len(shards)
