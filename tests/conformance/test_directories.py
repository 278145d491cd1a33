"""Directories as people have them: what each command makes of them, and what loaders load.

Each state is a small directory; transformers, huggingface_hub and accelerate are run on it too.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conformance.directory_states import STATES, State
from tests.conformance.loaders import FAILS, loaded
from tests.support.program import Call

each = pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)


def made(state: State, directory: Path) -> Path:
    """The directory of a state."""
    for step in state.steps:
        step(directory)
    return directory


@each
def test_every_command_takes_the_same(state: State, tmp_path: Path, call: Call) -> None:
    """`merge` and `inspect` read the expected checkpoint or refuse alike, but for what `inspect`
    shows of an incomplete one; `verify` and `index` say what is expected.
    """
    directory = made(state, tmp_path / "m")
    code = max(0, -state.merge)
    call("inspect", directory, code=0 if state.shown else code)
    out, _ = call("merge", directory, tmp_path / "out", code=code)
    if code == 0:
        assert generation(Path(out.strip())) == state.merge
    errors = 3 if state.found is None else any(one.startswith("error") for one in state.found)
    out, _ = call("verify", directory, code=int(errors))
    rows = [line.split("\t") for line in out.splitlines()]
    assert {f"{row[0]} {row[1]}" for row in rows} == set(state.found or ())
    call("index", directory, "--check", code=state.index)


@each
def test_what_loaders_load(state: State, tmp_path: Path) -> None:
    """Each loader loads the expected generation, or fails as expected."""
    found = loaded(made(state, tmp_path))
    assert [
        None if expected is None else each
        for each, expected in zip(found, state.loads, strict=True)
    ] == list(state.loads)


@each
def test_what_is_read_is_what_transformers_loads(state: State) -> None:
    """Where transformers loads a checkpoint, `merge` reads that one, or refuses the directory."""
    taken, *_ = state.loads
    if taken and state.merge > 0:
        assert state.merge == taken


@each
def test_verify_fails_where_loaders_differ(state: State) -> None:
    """A directory of which loaders load other tensors or fail on an index is not called sound."""
    if len({*state.loads} - {FAILS, None}) > 1:
        assert state.found is not None
        assert any("folder-ambiguous" in found for found in state.found)


def generation(path: Path) -> int:
    """The one number in all elements of a file."""
    held = load_file(path) if path.suffix == ".safetensors" else torch.load(path)
    values = {value for tensor in held.values() for value in tensor.tolist()}
    assert len(values) == 1
    assert set(held) == set("abc")
    return int(values.pop())
