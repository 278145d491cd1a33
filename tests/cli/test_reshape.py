"""Options that say how tensors are laid out, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.program import Call
from tests.support.safetensors_files import plain_directory


@pytest.fixture
def layered(tmp_path: Path) -> Path:
    """A directory with two layers of two tensors, and a head."""
    return plain_directory(tmp_path / "source", ["h.0.b", "h.0.w", "h.1.b", "h.1.w", "head.w"])


def shards(stdout: str) -> list[list[str]]:
    """The names in each shard, from a document."""
    return [shard["tensors"] for shard in json.loads(stdout)["shards"]]


@pytest.mark.parametrize("command", ["split", "reshard"])
def test_each_layer_is_a_file(command: str, layered: Path, tmp_path: Path, call: Call) -> None:
    """Without a size, `--group-by` writes a file for each group, whatever the usual size is."""
    out, _ = call(command, layered, tmp_path / "out", "--group-by", "layer", "--json")
    assert shards(out) == [["h.0.b", "h.0.w"], ["h.1.b", "h.1.w"], ["head.w"]]
    _, messages = call(command, layered, tmp_path / "out", "--group-by", "layer")
    assert "up to date" in messages


def test_groups_are_packed_by_a_number_of_shards(layered: Path, tmp_path: Path, call: Call) -> None:
    """With a size or a number of shards, several groups share a file; a large one is named."""
    options = ("--group-by", r"h\.(\d)", "--json")
    out, _ = call("split", layered, tmp_path / "a", *options, "--num-shards", "2")
    assert shards(out) == [["h.0.b", "h.0.w"], ["h.1.b", "h.1.w", "head.w"]]
    out, messages = call("split", layered, tmp_path / "b", *options, "--max-shard-size", "16")
    assert len(shards(out)) == 3
    assert "a group over the limit has a separate shard: '0' (2 tensors" in messages


def test_one_file_has_no_use_for_groups(layered: Path, tmp_path: Path, call: Call) -> None:
    """`--single` with `--group-by` is a usage error, and `merge` has no such option."""
    options = ("--group-by", "layer")
    _, messages = call("reshard", layered, tmp_path / "a", *options, "--single", code=2)
    assert "--single and --group-by cannot be used together" in messages
    call("merge", layered, tmp_path / "a", *options, code=2)


@pytest.fixture
def experts(tmp_path: Path) -> Path:
    """A directory with two experts of one layer, and a head."""
    parts = [f"h.0.x.{n}.{part}" for n in range(2) for part in ("a", "b")]
    return plain_directory(tmp_path / "source", ["head.w", *parts])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("map.json", '{"x.ab": ["x.*.a", "x.*.b"]}'),
        ("map.toml", 'x.ab = ["x.*.a", "x.*.b"]\n'),
    ],
)
def test_a_map_names_other_experts(
    name: str, text: str, experts: Path, tmp_path: Path, call: Call
) -> None:
    """With a map in JSON or TOML other names are stacked and split; the result is up to date only
    with the same map, and `verify` proves the round trip.
    """
    (tmp_path / name).write_text(text)
    options = ("--experts-map", tmp_path / name)
    stack = ("reshard", experts, tmp_path / "a", "--experts", "stack", *options)
    _, messages = call(*stack)
    assert "note: stacks 4 tensors of experts into 1" in messages
    assert "wrote 1 file of 2 tensors" in messages
    assert "up to date" in call(*stack)[1]
    call("reshard", tmp_path / "a", tmp_path / "b", "--experts", "split", *options)
    call("verify", tmp_path / "b", "--deep", "--against", experts)
    document = json.loads(call(*stack[:2], tmp_path / "c", *stack[3:], "-n", "--json")[0])
    assert document["plan_id"]


def test_what_was_stacked_and_converted_is_proved(
    experts: Path, tmp_path: Path, call: Call
) -> None:
    """The options that made a copy prove it, with `verify --against` and with `diff`; with others
    it differs, and they are of no use without another checkpoint.
    """
    (tmp_path / "map.toml").write_text('x.ab = ["x.*.a", "x.*.b"]\n')
    stack = ("--experts", "stack", "--experts-map", tmp_path / "map.toml")
    options = (*stack, "--dtype", "bf16", "--keep-dtype", "head.*")
    call("reshard", experts, tmp_path / "a", *options)
    out, _ = call("verify", tmp_path / "a", "--deep", "--against", experts, *options, "--json")
    assert len(json.loads(out)["digests"]) == 2
    assert "2 tensors equal" in call("diff", tmp_path / "a", experts, *options)[1]
    call("diff", tmp_path / "a", experts, *stack, code=1)
    assert "add --against" in call("verify", experts, "--dtype", "bf16", code=2)[1]


@pytest.mark.parametrize(
    ("data", "said"),
    [(None, "No such file"), (b"\xff", "it is not text"), (b"#" * (1 << 21), "it is too large")],
)
def test_a_map_that_cannot_be_read(
    data: bytes | None, said: str, experts: Path, tmp_path: Path, call: Call
) -> None:
    """A map that is missing, no text, or far too large is a usage error that names the option."""
    path = tmp_path / "map"
    if data is not None:
        path.write_bytes(data)
    options = ("--experts", "stack", "--experts-map", path)
    _, messages = call("reshard", experts, tmp_path / "a", *options, code=2)
    assert f"--experts-map '{path}' cannot be read: {said}" in messages


def test_a_map_needs_something_to_do(experts: Path, tmp_path: Path, call: Call) -> None:
    """`--experts-map` alone is a usage error, and so are experts of which no rule knows."""
    _, messages = call("reshard", experts, tmp_path / "a", "--experts-map", "x", code=2)
    assert "--experts-map needs something to do" in messages
    _, messages = call("reshard", experts, tmp_path / "a", "--experts", "stack", code=2)
    assert "describe the names with --experts-map" in messages


def test_the_type_in_a_config_follows(layered: Path, tmp_path: Path, call: Call) -> None:
    """A copied `config.json` gives the type of the converted weights. The result is up to date, by
    its record and by its contents, until the file is changed; the source is never changed.
    """
    (layered / "config.json").write_text('{"dtype": "float32", "x": 1}')
    run = ("reshard", layered, tmp_path / "out", "--dtype", "bf16")
    _, messages = call(*run)
    assert "note: in the copy of config.json the type of the weights is the new one" in messages
    copied = tmp_path / "out" / "config.json"
    assert copied.read_text() == '{"dtype": "bfloat16", "x": 1}'
    assert (layered / "config.json").read_text() == '{"dtype": "float32", "x": 1}'
    for record in ("--record", "--no-record"):
        assert "up to date" in call(*run, record)[1]
    copied.write_text('{"dtype": "bfloat16", "x": 2}')
    assert "config.json" in call(*run, "--no-record", code=4)[1]
