"""The index: built byte for byte as upstream builds it, and read back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardctl.findings import Finding
from shardctl.formats.index import build_index, parse_index, too_large
from shardctl.formats.limits import MAX_INDEX_BYTES
from shardctl.weight_map import names_by_shard

_PATH = "models/model.safetensors.index.json"
_METADATA = st.dictionaries(
    st.text(max_size=8),
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False),
)
_WEIGHT_MAP = st.dictionaries(
    st.text(max_size=12),
    st.sampled_from(["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]),
    min_size=1,
)


def _refuse(finding: Finding) -> None:
    pytest.fail(f"unexpected finding: {finding}")


@given(_METADATA, _WEIGHT_MAP)
def test_the_bytes_are_those_of_transformers(
    metadata: dict[str, object], weight_map: dict[str, str]
) -> None:
    """An index is the same, byte for byte, as what transformers writes from the same
    dictionaries.
    """
    theirs = (
        json.dumps({"metadata": metadata, "weight_map": weight_map}, indent=2, sort_keys=True)
        + "\n"
    )
    assert build_index(metadata, names_by_shard(weight_map)) == theirs.encode()


def test_many_names_are_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names are made into text together, the bytes are the same."""
    weight_map = {f"layer.{number}": "model-00001-of-00001.safetensors" for number in range(10)}
    whole = build_index({"total_size": 1}, names_by_shard(weight_map))
    for together in (1, 3, 10):
        monkeypatch.setattr("shardctl.formats.index._NAMES_AT_A_TIME", together)
        assert build_index({"total_size": 1}, names_by_shard(weight_map)) == whole


@given(_METADATA, _WEIGHT_MAP)
def test_what_is_built_is_read_back(
    metadata: dict[str, object], weight_map: dict[str, str]
) -> None:
    """An index that was built is read back without a finding, and unchanged."""
    index = parse_index(build_index(metadata, names_by_shard(weight_map)), _PATH, _refuse)
    assert index is not None
    assert index.metadata == metadata
    assert index.weight_map == weight_map


def test_transformers_writes_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A model that transformers saves in shards has an index that is rebuilt from its content byte
    for byte.
    """
    from transformers import BertConfig, BertModel

    directory = tmp_path_factory.mktemp("sharded")
    config = BertConfig(
        vocab_size=64,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(directory, max_shard_size="8KB")
    data = (directory / "model.safetensors.index.json").read_bytes()
    index = parse_index(data, _PATH, _refuse)
    assert index is not None
    assert build_index(index.metadata, names_by_shard(index.weight_map)) == data


def test_a_large_index_is_read_whole() -> None:
    """An index of 222,747 tensors has each of them, and one string for each shard."""
    names = [
        f"model.layers.{i // 2000}.mlp.experts.{i % 2000}.down_proj.weight_scale_inv"
        for i in range(222_747)
    ]
    shards = [f"model-{i % 163 + 1:05d}-of-00163.safetensors" for i in range(len(names))]
    data = build_index({"total_size": 1}, names_by_shard(dict(zip(names, shards, strict=True))))
    assert len(data) > 17_000_000
    index = parse_index(data, _PATH, _refuse)
    assert index is not None
    assert len(index.weight_map) == len(names)
    assert len({id(shard) for shard in index.weight_map.values()}) == 163


def test_a_million_faults_are_a_hundred_findings() -> None:
    """A fault that is made very often is reported a hundred times, and then counted."""
    pairs = (
        ",".join('"a":"x.safetensors"' for _ in range(2))
        + ","
        + ",".join(f'"n{i}":0' for i in range(1000))
    )
    findings: list[Finding] = []
    parse_index(f'{{"metadata":{{}},"weight_map":{{{pairs}}}}}'.encode(), _PATH, findings.append)
    invalid = [finding for finding in findings if finding.code == "index-invalid"]
    assert len(invalid) == 101
    assert "900 more" in invalid[-1].message


@pytest.mark.parametrize(
    ("index", "shard", "allowed"),
    [
        ("model.safetensors.index.json", "sub/a.safetensors", True),
        ("model.safetensors.index.json", "a.bin", False),
        ("model.safetensors.index.json", "a.safetensors.bin", False),
        ("model.safetensors.index.json", "a", False),
        ("pytorch_model.bin.index.json", "a.pth", True),
        ("pytorch_model.bin.index.json", "a", True),
        ("pytorch_model.bin.index.json", "a.safetensors", False),
        ("other.json", "a.bin", True),
        ("other.json", "a.safetensors", True),
        ("ema.json", "a.distcp", False),
        ("model.distcp.index.json", "model-00001-of-00001.distcp", False),
    ],
)
def test_an_index_lists_one_format(index: str, shard: str, allowed: bool) -> None:
    """An index lists the format that its own name promises; one that promises none lists any
    but pieces.
    """
    findings: list[Finding] = []
    parsed = parse_index(build_index({}, {shard: ["t"]}), f"directory/{index}", findings.append)
    assert parsed is not None
    assert parsed.weight_map == ({"t": shard} if allowed else {})
    assert [finding.code for finding in findings] == ([] if allowed else ["shard-name-unsafe"])


def test_the_size_can_be_asked_before_reading() -> None:
    """An index of more than 256 MiB is refused by its size alone."""
    assert too_large(MAX_INDEX_BYTES, _PATH) is None
    finding = too_large(MAX_INDEX_BYTES + 1, _PATH)
    assert finding is not None
    assert finding.code == "index-invalid"


@given(
    st.binary(max_size=200)
    | st.text(alphabet='{}[]",:metadaweight_p01\\ud8', max_size=80).map(str.encode)
)
def test_any_bytes_are_an_index_or_a_finding(data: bytes) -> None:
    """No bytes make anything but an index or a finding with a next step."""
    findings: list[Finding] = []
    index = parse_index(data, _PATH, findings.append)
    assert index is not None or findings
    assert all(finding.hint and finding.file == _PATH for finding in findings)
