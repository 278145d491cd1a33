"""File names: both ways, wherever a variant or a number is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardctl.naming import (
    IndexName,
    WeightsName,
    check_shard_name,
    default_stem,
    index_filename,
    is_training_state,
    is_weights_or_index,
    parse_index_name,
    parse_weights_name,
    plain_shard_name,
    shard_filename,
)
from shardctl.text import escape

#: What weights files end in, in these tests.
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")

_WEIGHTS = {
    "model.safetensors": WeightsName("model", None, ".safetensors"),
    "pytorch_model.bin": WeightsName("pytorch_model", None, ".bin"),
    "model.fp16.safetensors": WeightsName("model", "fp16", ".safetensors"),
    "model.fp16.v2.safetensors": WeightsName("model", "fp16.v2", ".safetensors"),
    "model-00001-of-00003.safetensors": WeightsName("model", None, ".safetensors", 1, 3, "shard"),
    "model.fp16-00001-of-00002.safetensors": WeightsName(
        "model", "fp16", ".safetensors", 1, 2, "shard"
    ),
    "model-00001-of-00002.fp16.safetensors": WeightsName(
        "model", "fp16", ".safetensors", 1, 2, "before-variant"
    ),
    "model.safetensors-00001-of-00014.safetensors": WeightsName(
        "model", None, ".safetensors", 1, 14, "after-suffix"
    ),
    "diffusion_pytorch_model.bin": WeightsName("diffusion_pytorch_model", None, ".bin"),
    "consolidated-00001-of-00002.safetensors": WeightsName(
        "consolidated", None, ".safetensors", 1, 2, "shard"
    ),
    "consolidated.safetensors": WeightsName("consolidated", None, ".safetensors"),
    "consolidated.00.pth": WeightsName("consolidated", None, ".pth", 0, None, "rank"),
    "adapter_model.safetensors": WeightsName("adapter_model", None, ".safetensors"),
    "model.pt": WeightsName("model", None, ".pt"),
    "v1-5-pruned.fp16.ckpt": WeightsName("v1-5-pruned.fp16", None, ".ckpt"),
    "custom-00002-of-00002.safetensors": WeightsName("custom", None, ".safetensors", 2, 2, "shard"),
    "model-00001-of-000163.safetensors": WeightsName(
        "model", None, ".safetensors", 1, 163, "shard"
    ),
    "pytorch_model_00001-of-00072.bin": WeightsName("pytorch_model", None, ".bin", 1, 72, "shard"),
}

_INDEXES = {
    "model.safetensors.index.json": IndexName("model", None, ".safetensors"),
    "model.safetensors.index.fp16.json": IndexName("model", "fp16", ".safetensors"),
    "model.fp16.safetensors.index.json": IndexName(
        "model", "fp16", ".safetensors", variant_first=True
    ),
    "pytorch_model.bin.index.json": IndexName("pytorch_model", None, ".bin"),
    "custom.v2.safetensors.index.json": IndexName("custom.v2", None, ".safetensors"),
    "weight_map.index.json": IndexName("weight_map", None, ""),
}


@pytest.mark.parametrize(("name", "expected"), _WEIGHTS.items())
def test_the_name_of_weights_is_understood(name: str, expected: WeightsName) -> None:
    """Every form of name that is in use says its stem, variant, suffix and number."""
    assert parse_weights_name(name, SUFFIXES) == expected


@pytest.mark.parametrize(
    "name", ["config.json", "model", "", ".safetensors", "model.safetensors.index.json", "a.bin.gz"]
)
def test_other_names_are_not_weights(name: str) -> None:
    """A name without a stem and a suffix of weights is none."""
    assert parse_weights_name(name, SUFFIXES) is None


@pytest.mark.parametrize(("name", "expected"), _INDEXES.items())
def test_the_name_of_an_index_is_understood(name: str, expected: IndexName) -> None:
    """An index's variant is found wherever it is."""
    assert parse_index_name(name, SUFFIXES) == expected


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "index.json", "model.index.json", ""]
)
def test_other_names_are_not_an_index(name: str) -> None:
    """A name that does not say which shards it lists is none."""
    assert parse_index_name(name, SUFFIXES) is None


@given(
    st.sampled_from(["model", "pytorch_model", "diffusion_pytorch_model", "my-own_name"]),
    st.sampled_from([".safetensors", ".bin"]),
    st.integers(1, 99_999),
    st.integers(2, 99_999),
)
def test_shard_names_are_read_back(stem: str, suffix: str, number: int, count: int) -> None:
    """What is written as a shard's name is read back as the same."""
    variant = "fp16" if stem in ("model", "pytorch_model") else None
    parsed = parse_weights_name(shard_filename(stem, suffix, variant, number, count), SUFFIXES)
    assert parsed == WeightsName(stem, variant, suffix, number, count, "shard")
    assert parse_index_name(index_filename(stem, suffix, variant), SUFFIXES) == IndexName(
        stem, variant, suffix
    )


@pytest.mark.parametrize(
    "name", ["model.safetensors.index.fp16.json", "model.fp16.safetensors.index.json"]
)
def test_an_index_keeps_the_form_of_its_name(name: str) -> None:
    """An index is named as it was, wherever its variant is."""
    parsed = parse_index_name(name, SUFFIXES)
    assert parsed is not None
    assert (
        index_filename(
            parsed.stem, parsed.suffix, parsed.variant, variant_first=parsed.variant_first
        )
        == name
    )


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("./a", "a"), ("././sub/./a", "sub/a"), ("sub\\a", "sub/a"), (".\\a", "a"),
        ("../a", "../a"), ("/a", "/a"), ("a", "a"), (".", "."), ("a/.", "a/."),
    ],
)  # fmt: skip
def test_shard_names_are_made_plain(name: str, plain: str) -> None:
    """A dot as a part goes, and a backslash becomes a slash; nothing else changes."""
    assert plain_shard_name(name) == plain


def test_names_are_those_of_the_hub() -> None:
    """Shards and their index are named as upstream's planner and savers name them."""
    from huggingface_hub import split_state_dict_into_shards_factory
    from transformers.modeling_utils import _add_variant

    split = split_state_dict_into_shards_factory(
        {name: name.encode() for name in "abc"},
        get_storage_size=lambda _: 10,
        get_storage_id=lambda _: None,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=10,
    )
    assert list(split.filename_to_tensors) == [
        shard_filename("model", ".safetensors", None, i, 3) for i in (1, 2, 3)
    ]
    assert index_filename("model", ".safetensors", None) == "model.safetensors.index.json"
    assert index_filename("model", ".safetensors", "fp16") == _add_variant(
        "model.safetensors.index.json", "fp16"
    )
    assert shard_filename("pytorch_model", ".bin", None, 1, 1) == "pytorch_model.bin"


@pytest.mark.parametrize(
    "name",
    [
        "optimizer.pt", "optimizer.bin", "optimizer_1.bin", "optimizer-00001-of-00002.safetensors",
        "scheduler.pt", "rng_state.pth", "rng_state_0.pth", "random_states_0.pkl",
        "training_args.bin", "scaler.pt", "sampler.bin",
        "zero_pp_rank_0_mp_rank_00_optim_states.pt", "optimizer.bin.index.json",
        "trainer_state.json", "custom_checkpoint_0.pkl", "dl_state_dict.bin",
    ],
)  # fmt: skip
def test_training_state_is_distinguished_from_weights(name: str) -> None:
    """Training state is known by its name."""
    assert is_training_state(name)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "scheduler_config.json", "optimizer.py", "config.json"]
)
def test_other_files_are_not_training_state(name: str) -> None:
    """Weights and configurations are not training state."""
    assert not is_training_state(name)


@pytest.mark.parametrize(
    "name",
    [
        *_WEIGHTS,
        *_INDEXES,
        "tf_model.h5",
        "flax_model.msgpack",
        "q4.gguf",
        "tf_model.h5.index.json",
    ],
)
def test_weights_and_indexes_of_any_format(name: str) -> None:
    """Weights and indexes are known as such, of other formats too."""
    assert is_weights_or_index(name, SUFFIXES)


@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer.json", "README.md", "vocab.txt", "spiece.model", "index.json"],
)
def test_companions_are_not_weights(name: str) -> None:
    """The files beside the weights are not taken for weights."""
    assert not is_weights_or_index(name, SUFFIXES)


@pytest.mark.parametrize(
    "name",
    [
        "", "..", "../a.safetensors", "a/../../b.safetensors", "/etc/a.safetensors",
        "C:a.safetensors", "c:/a.safetensors", "a\\b.safetensors", "a\0.safetensors",
        "./a.safetensors", "a//b.safetensors", "a/", "\ud800.safetensors",
        "a" * 300 + ".safetensors",
    ],
)  # fmt: skip
def test_unsafe_shard_names_have_a_reason(name: str) -> None:
    """A name that could lead anywhere but to a file below the directory is refused, with the
    reason.
    """
    assert check_shard_name(name)


@pytest.mark.parametrize(
    "name",
    ["a.safetensors", "sub/a.safetensors", "..a.safetensors", "a b.safetensors", "é.safetensors"],
)
def test_safe_shard_names_have_none(name: str) -> None:
    """A name below the directory is accepted, also in a subdirectory."""
    assert check_shard_name(name) is None


def test_other_suffixes_are_recognised_where_they_are_passed_in() -> None:
    """Which suffixes are those of weights is for the caller to say."""
    assert parse_weights_name("model-00001-of-00002.toy", SUFFIXES) is None
    assert parse_index_name("model.toy.index.json", SUFFIXES) is None
    toy = (*SUFFIXES, ".toy", ".tar.toy")
    assert parse_weights_name("model-00001-of-00002.toy", toy) == WeightsName(
        "model", None, ".toy", 1, 2, "shard"
    )
    assert parse_weights_name("model.toyx", toy) is None
    assert parse_index_name("model.toy.index.json", toy) == IndexName("model", None, ".toy")
    assert is_weights_or_index("model.toy", toy)


@pytest.mark.parametrize(
    ("usual", "stem", "expected"),
    [
        ("model", "pytorch_model", "model"),
        ("pytorch_model", "model", "pytorch_model"),
        ("pytorch_model", "diffusion_pytorch_model", "diffusion_pytorch_model"),
        ("model", "adapter_model", "adapter_model"),
        ("model", "pytorch_lora_weights", "pytorch_lora_weights"),
        ("pytorch_model", "learned_embeds", "learned_embeds"),
        ("model", "open_clip_pytorch_model", "open_clip_model"),
        ("pytorch_model", "open_clip_pytorch_model", "open_clip_pytorch_model"),
        ("pytorch_model", "open_clip_model", "open_clip_pytorch_model"),
        ("model", "custom", "model"),
        ("pytorch_model", None, "pytorch_model"),
    ],
)
def test_the_stem_is_what_loaders_look_for(usual: str, stem: str | None, expected: str) -> None:
    """The output's stem is the usual one of its format, unless other loaders look for the
    source's.
    """
    assert default_stem(usual, stem) == expected


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("model.layers.0", "model.layers.0"),
        ("[red]é 漢", "[red]é 漢"),
        ("a\\b", "a\\\\b"),
        ("a\tb\nc\rd", "a\\tb\\nc\\rd"),
        ("\x1b[31m\x00\x7f\x85", "\\x1b[31m\\x00\\x7f\\x85"),
        ("a\u202eb\u2066c\u200d", "a\\u202eb\\u2066c\\u200d"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_names_are_escaped_for_printing(name: str, shown: str) -> None:
    """Backslashes and everything invisible are escaped; visible text stays."""
    assert escape(name) == shown


@given(st.text())
def test_what_is_escaped_prints_on_one_line(name: str) -> None:
    """Whatever a name holds, its escaped form is printable, and different names stay different."""
    shown = escape(name)
    assert shown.isprintable()
    assert shown.encode().decode("unicode_escape", errors="ignore") or not name
