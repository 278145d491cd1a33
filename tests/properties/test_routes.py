"""Whatever is in a checkpoint and whichever way it goes, nothing of it is lost."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.program import call_cli
from tests.support.state_dicts import COMMON_DTYPES, assert_equal, load, random_tensor, result, save

if TYPE_CHECKING:
    import torch

names = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("./[]\\\t0123456789"),
    min_size=1,
    max_size=12,
).filter(lambda name: name != "__metadata__")


@dataclass(frozen=True)
class View:
    """How a tensor is cut from a buffer: a range of its elements, and in which shape and order."""

    buffer: int
    begin: float
    end: float
    form: str


views = st.builds(
    View,
    buffer=st.integers(0, 3),
    begin=st.floats(0, 0.5),
    end=st.floats(0.5, 1),
    form=st.sampled_from(
        ["whole", "flat", "every-other", "transposed", "scalar", "empty", "expanded"]
    ),
)


FORMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "flat": lambda part: part,
    "every-other": lambda part: part[::2],
    "transposed": lambda part: part[: len(part) // 2 * 2].reshape(2, -1).t(),
    "scalar": lambda part: part[-1],
    "empty": lambda part: part[:0].reshape(0, 3),
    "expanded": lambda part: part[:1].expand(3, 1),
}


def cut(buffer: torch.Tensor, view: View) -> torch.Tensor:
    """The tensor that a view describes; the whole buffer is the very same tensor each time."""
    if view.form == "whole":
        return buffer
    begin = int(view.begin * (len(buffer) - 1))
    return FORMS[view.form](buffer[begin : max(int(view.end * len(buffer)), begin + 1)])


@st.composite
def state_dicts(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    """A few buffers of different types, with up to ten named views of them; whole ones are ties."""
    chance = random.Random(draw(st.integers(0, 1 << 32)))
    dtypes = draw(st.lists(st.sampled_from(COMMON_DTYPES), min_size=4, max_size=4))
    buffers = [random_tensor(chance, dtype, (draw(st.integers(1, 40)),)) for dtype in dtypes]
    chosen = draw(st.dictionaries(names, views, min_size=1, max_size=10))
    return {name: cut(buffers[view.buffer], view) for name, view in chosen.items()}


steps = st.tuples(
    st.sampled_from(["safetensors", "bin"]),
    st.one_of(
        st.just(("--single",)),
        st.integers(1, 200).map(lambda size: ("--max-shard-size", size)),
        st.just(("--num-shards", 1)),
    ),
    st.sampled_from(["share", "expand"]),
    st.sampled_from(["source", "natural"]),
)


@settings(max_examples=40)
@given(
    state_dicts(), st.sampled_from(["safetensors", "bin"]), st.lists(steps, min_size=1, max_size=3)
)
def test_every_route_keeps_every_tensor(
    expected: dict[str, torch.Tensor],
    first: str,
    route: list[tuple[str, tuple[object, ...], str, str]],
) -> None:
    """After each step of any route, upstream's loaders find the names, types, shapes and bits of
    the beginning.
    """
    with tempfile.TemporaryDirectory() as directory:
        at = save(expected, Path(directory, "0", f"model.{first}"))
        for number, (format_name, size, tied, order) in enumerate(route, start=1):
            target = Path(directory, str(number))
            options = ["--to", format_name, *size, "--tied", tied, "--order", order, "-q"]
            call_cli("reshard", at.parent, target, *options)
            at = result(target)
            assert_equal(load(at), expected)


@settings(max_examples=25)
@given(state_dicts(), st.integers(1, 200), st.sampled_from(["safetensors", "bin"]))
def test_what_is_written_verifies(
    expected: dict[str, torch.Tensor], limit: int, format_name: str
) -> None:
    """What is written is sound in every byte, and the same as what it was made from."""
    with tempfile.TemporaryDirectory() as directory:
        source = save(expected, Path(directory, "a", "pytorch_model.bin"))
        target = Path(directory, "b")
        call_cli(
            "reshard", source.parent, target, "--to", format_name, "--max-shard-size", limit, "-q"
        )
        call_cli("verify", target, "--deep", "--strict", "-q")
        call_cli("verify", target, "--against", source.parent, "--deep", "-q")
