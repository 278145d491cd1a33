"""Any options at once, on anything that can be read: the result is what torch gives in memory."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.dcp_files import load_dcp, save_sliced
from tests.support.program import call_cli
from tests.support.rank_files import save_ranks, save_slices
from tests.support.state_dicts import assert_equal, load, result, save

_State = dict[str, torch.Tensor]
_GATE, _UP, _DOWN = (f"{part}_proj" for part in ("gate", "up", "down"))
_TYPES = {"": None, "bf16": torch.bfloat16, "f16": torch.float16, "f8_e5m2": torch.float8_e5m2}
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def _model(chance: random.Random, experts: str) -> _State:
    """A model of two layers of several types and shapes, whose experts are stacked or single; one
    tensor has two names.
    """
    tensors: _State = {
        "model.embed.weight": torch.randn(5, 4),
        "model.norm": torch.randn(4, dtype=torch.float64),
        "model.scale": torch.tensor(chance.random()),
        "head.weight": torch.randn(4, 5).t(),
        "head.none": torch.zeros(0, 3),
    }
    tensors["head.tied"] = tensors["model.embed.weight"]
    for layer in range(2):
        h = f"model.h.{layer}"
        tensors |= {
            f"{h}.attn.q": torch.randn(7, 3).to(chance.choice(_FLOATS)),
            f"{h}.attn.ids": torch.randint(-9, 9, (2, 3), dtype=torch.int32),
            f"{h}.attn.mask": torch.rand(5) < 0.5,
            f"{h}.attn.small": torch.randn(3).to(torch.float8_e4m3fn),
        }
        up = torch.randn(3, 4, 2).to(chance.choice(_FLOATS[1:]))
        down = torch.randn(3, 2, 2).to(chance.choice(_FLOATS[1:]))
        if experts == "split":
            tensors |= {f"{h}.mlp.experts.gate_up_proj": up, f"{h}.mlp.experts.down_proj": down}
        else:
            tensors |= _single(f"{h}.mlp.experts", up, down)
    names = chance.sample(list(tensors), len(tensors))
    return {name: tensors[name] for name in names}


def _single(prefix: str, up: torch.Tensor, down: torch.Tensor) -> _State:
    """The tensors of single experts."""
    found: _State = {}
    for number in range(len(up)):
        gate, rest = up[number].chunk(2)
        found |= {
            f"{prefix}.{number}.{_GATE}.weight": gate,
            f"{prefix}.{number}.{_UP}.weight": rest,
            f"{prefix}.{number}.{_DOWN}.weight": down[number],
        }
    return found


def _split(tensors: _State) -> _State:
    made: _State = {}
    for name, tensor in tensors.items():
        prefix, _, last = name.rpartition(".")
        if last == "gate_up_proj":
            made |= _single(prefix, tensor, tensors[f"{prefix}.down_proj"])
        elif last != "down_proj" or f"{prefix}.gate_up_proj" not in tensors:
            made[name] = tensor
    return made


def _stack(tensors: _State) -> _State:
    found = re.compile(r"(.*\.experts)\.(\d+)\.(\w+)\.weight")
    matches = [match for name in tensors if (match := found.fullmatch(name))]
    made = {name: tensor for name, tensor in tensors.items() if not found.fullmatch(name)}
    for prefix in {match[1] for match in matches}:
        gate, up, down = (
            torch.stack([tensors[f"{prefix}.{number}.{part}.weight"] for number in range(3)])
            for part in (_GATE, _UP, _DOWN)
        )
        made |= {f"{prefix}.gate_up_proj": torch.cat([gate, up], 1), f"{prefix}.down_proj": down}
    return made


_ARRANGED: dict[str, Callable[[_State], _State]] = {"": dict, "stack": _stack, "split": _split}


@dataclass(frozen=True)
class Asked:
    """What is to be made of a model."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]
    strip: str
    add: str
    renames: tuple[tuple[str, str], ...]
    experts: str
    dtype: str
    keep: str

    def options(self) -> list[str]:
        """The options of the command line, which `verify` has, too."""
        pairs = [
            *(("--include", glob) for glob in self.include),
            *(("--exclude", glob) for glob in self.exclude),
            ("--strip-prefix", self.strip),
            ("--add-prefix", self.add),
            *(("--rename", f"{old}={new}") for old, new in self.renames),
            ("--experts", self.experts),
            ("--dtype", self.dtype),
            ("--keep-dtype", self.keep if self.dtype else ""),
        ]
        return [text for pair in pairs if pair[1] for text in pair]

    def applied(self, tensors: _State) -> _State | None:
        """The result, the plain way; None where something asked for has no effect."""
        for glob in (*self.include, *self.exclude):
            if not any(fnmatchcase(name, glob) for name in tensors):
                return None
        chosen = {
            name: tensor
            for name, tensor in tensors.items()
            if (not self.include or any(fnmatchcase(name, glob) for glob in self.include))
            and not any(fnmatchcase(name, glob) for glob in self.exclude)
        }
        rules = [(f"^{re.escape(self.strip)}", "")] if self.strip else []
        rules += [("^", self.add)] if self.add else []
        for old, new in [*rules, *self.renames]:
            renamed = {re.sub(old, new, name): tensor for name, tensor in chosen.items()}
            if renamed.keys() == chosen.keys():
                return None
            chosen = renamed
        made = _ARRANGED[self.experts](chosen)
        if self.experts and made.keys() == chosen.keys():
            return None
        to = _TYPES[self.dtype]
        kept = {name for name in made if self.keep and fnmatchcase(name, self.keep)}
        if to is not None and self.keep and not kept:
            return None
        return {
            name: tensor.contiguous().to(to)
            if to is not None and tensor.is_floating_point() and name not in kept
            else tensor.contiguous()
            for name, tensor in made.items()
        }


asked = st.builds(
    Asked,
    include=st.sampled_from([(), (), ("model.*",), ("*.h.*", "*.weight"), ("*h.1.*",)]),
    exclude=st.sampled_from([(), (), ("*.none",), ("*.attn.[im]*", "head.*"), ("*.mlp.*",)]),
    strip=st.sampled_from(["", "", "model."]),
    add=st.sampled_from(["", "", "net."]),
    renames=st.sampled_from(
        [(), (), ((r"\.attn\.", ".self_attn."),), ((r"\bh\.(\d+)", r"layers.\1"), ("small", "s"))]
    ),
    experts=st.sampled_from(["", "stack", "split"]),
    dtype=st.sampled_from(sorted(_TYPES)),
    keep=st.sampled_from(["", "*attn*", "*.experts.*", "*tied"]),
)
_SOURCES: dict[str, Callable[[_State, Path, random.Random], Path]] = {
    "safetensors": lambda state, path, _: save(state, path / "model.safetensors"),
    "bin": lambda state, path, _: save(state, path / "pytorch_model.bin"),
    "dcp": save_sliced,
    "ranks": lambda state, path, _: save_ranks(state, path),
    "slices": lambda state, path, _: save_slices(state, path),
}
_GROUP = r"(?:h|layers)\.(\d+)\."
_LIMIT = ("--max-shard-size", "150")
_PACKED = [
    (),
    _LIMIT,
    ("--num-shards", "2"),
    ("--group-by", "layer"),
    ("--group-by", _GROUP),
    ("--group-by", _GROUP, *_LIMIT),
]


def _document(*arguments: object) -> dict[str, Any]:
    """What `reshard` prints with `--json`."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        call_cli("reshard", *arguments, "--json", "-q")
    document = json.loads(printed.getvalue())
    assert isinstance(document, dict)
    return document


@settings(max_examples=40)
@given(
    asked,
    st.sampled_from(sorted(_SOURCES)),
    st.sampled_from(["safetensors", "bin", "dcp"]),
    st.sampled_from(_PACKED),
    st.sampled_from(["source", "natural"]),
    st.integers(0, 1 << 31),
)
def test_any_options_on_any_source(
    asked: Asked,
    source_format: str,
    target_format: str,
    packed: tuple[str, ...],
    order: str,
    seed: int,
) -> None:
    """The tensors have the names, types and bits that torch gives, the plan is made again, groups
    are whole, the options prove the result, and what was written distributed is merged again.
    """
    torch.manual_seed(seed)
    chance = random.Random(seed)
    model = _model(chance, asked.experts)
    expected = asked.applied(model)
    options = ["--to", target_format, "--order", order, *asked.options(), *packed]
    with tempfile.TemporaryDirectory() as directory:
        source = _SOURCES[source_format](model, Path(directory, "source"), chance)
        out = Path(directory, "out")
        if not expected:
            call_cli("reshard", source, out, *options, "-q", code=2)
            assert not out.exists()
            return
        plan = _document(source, out, *options, "--dry-run")
        document = _document(source, out, *options, "--verify")
        assert document["plan_id"] == plan["plan_id"]
        assert document["shards"] == plan["shards"]
        found = load_dcp(out) if target_format == "dcp" else load(result(out))
        assert_equal(found, expected)
        call_cli("verify", out, "--deep", "--against", source, *asked.options(), "-q")
        if target_format == "dcp":
            whole = Path(directory, "whole.safetensors")
            call_cli("merge", out, whole, "-q")
            assert_equal(load(whole), expected)
    if _GROUP in packed:
        homes = {
            (match[1], number)
            for number, shard in enumerate(document["shards"])
            for name in shard["tensors"]
            if (match := re.search(_GROUP, name))
        }
        assert len(homes) == len({group for group, _ in homes})
