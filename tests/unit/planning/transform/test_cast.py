"""Which tensors are converted to another type, and which must not be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardctl.errors import UsageError
from shardctl.model import DTYPES, Cast, Index, Tensor
from shardctl.planning.plan import make_plan
from shardctl.planning.request import Conversion, Limits, Request
from shardctl.planning.transform.cast import conversion_of, convert, convert_all, parse_dtype
from tests.support.tensors import checkpoint_of, floats

BF16 = Conversion("BF16")


def of_type(name: str, dtype: str) -> Tensor:
    """A tensor of four bytes."""
    whole = floats(name, 1)
    return Tensor(name, DTYPES[dtype], (32 // DTYPES[dtype].bits,), whole.storage)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("bf16", "BF16"), ("BFloat16", "BF16"), ("fp16", "F16"), ("half", "F16"), ("F32", "F32"),
        ("double", "F64"), ("f8_e4m3", "F8_E4M3"), ("float8_e5m2", "F8_E5M2"),
        (" float8_e4m3fnuz ", "F8_E4M3FNUZ"),
    ],
)  # fmt: skip
def test_names_of_types(text: str, name: str) -> None:
    """Ours, torch's and everyday names are known, in any case."""
    assert parse_dtype(text) == name


@pytest.mark.parametrize("text", ["int8", "f8", "", "torch.bfloat16", "complex64", "f4"])
def test_other_names_are_refused(text: str) -> None:
    """What is not a floating-point type of whole bytes is an error that lists those that are."""
    with pytest.raises(UsageError, match="is not a type") as caught:
        parse_dtype(text)
    assert "bf16" in caught.value.hint


def test_floating_point_is_converted_and_the_rest_stays() -> None:
    """Integers, other types without a conversion, and what has the type already, are untouched."""
    tensors = [of_type(f"t.{name}", name) for name in DTYPES if DTYPES[name].bits <= 32]
    made = convert(tensors, BF16)
    changed = {t.name for t, n in zip(tensors, made.tensors, strict=True) if n is not t}
    assert changed == {
        f"t.{name}" for name in ("F32", "F16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
    }
    assert made.changes["F32"] == 1
    assert "1 tensor from F32" in made.record("BF16")
    assert convert([of_type("w", "BF16")], BF16).record("BF16") == ""


def test_what_is_kept_stays() -> None:
    """Patterns match whole names; one that matches nothing is an error."""
    norm, weight = floats("l.0.norm.weight", 2), floats("l.0.mlp.weight", 2, 8)
    made = convert([norm, weight], Conversion("F16", ("*norm*",)))
    assert [tensor.dtype.name for tensor in made.tensors] == ["F32", "F16"]
    with pytest.raises(UsageError, match="`keep_dtype` 'x' matches no tensor's name"):
        convert([norm], Conversion("F16", ("x",)))


def test_tied_tensors_stay_tied() -> None:
    """Several names of one tensor have one converted storage; another view has a separate one."""
    one = floats("a", 4)
    other = replace(one, name="b")
    view = Tensor("v", DTYPES["F32"], (2,), one.storage, 1)
    made = convert([one, other, view], BF16).tensors
    assert made[0].identity == made[1].identity
    assert made[0].storage.identity != made[2].storage.identity
    assert made[2].storage.made == Cast(view)
    assert (made[2].offset, made[2].nbytes) == (0, 4)


@pytest.mark.parametrize("written", ["safetensors", "bin"])
def test_of_tied_tensors_some_are_kept(written: str) -> None:
    """Those of one type stay tied, and the others are written, also where only one name can be."""
    one = floats("embed", 4)
    tied = [one, *(replace(one, name=name) for name in ("tie", "head.weight", "head.copy"))]
    asked = Request(
        Limits(), written, f".{written}", "m", conversion=Conversion("BF16", ("head.*",))
    )
    (shard,) = make_plan(checkpoint_of(*tied), asked, lambda held, _: len(held)).shards
    found = {tensor.name: tensor.dtype.name for tensor in shard.tensors}
    if written == "safetensors":
        assert found == {"embed": "BF16", "head.weight": "F32"}
        ties = {"tie": "embed", "head.copy": "head.weight"}
        assert {name: shard.metadata[name] for name in ties} == ties
    else:
        assert list(found.values()) == ["BF16", "BF16", "F32", "F32"]
        identities = [tensor.identity for tensor in shard.tensors]
        assert identities[0] == identities[1] != identities[2] == identities[3]


def test_a_name_that_is_only_recorded_can_be_kept() -> None:
    """It becomes a tensor, beside the converted one to which it was tied; others stay recorded."""
    recorded = {"head.weight": "embed", "tie": "embed"}
    source = checkpoint_of(
        floats("embed", 4),
        format_name="safetensors",
        aliases=recorded,
        index=Index("i", {**recorded, "made": "by"}, {"embed": "f"}),
    )
    made = convert_all(source, Conversion("BF16", ("head*",)))
    assert [(tensor.name, tensor.dtype.name) for tensor in made.tensors] == [
        ("embed", "BF16"),
        ("head.weight", "F32"),
    ]
    assert made.aliases == {"tie": "embed"}
    assert made.index is not None
    assert made.index.metadata == {"tie": "embed", "made": "by"}
    assert convert_all(source, BF16).aliases == recorded


def test_tied_tensors_that_are_converted_take_no_more_room() -> None:
    """Many names of one tensor are written once, and views of one storage are written in full."""
    one = floats("a", 2**19)
    asked = Request(Limits(), "bin", ".bin", "m", conversion=BF16)
    ties = [replace(one, name=f"tie{number}") for number in range(33)]
    assert make_plan(checkpoint_of(*ties), asked, lambda held, _: len(held)).total_size == 2**20
    views = [Tensor(f"v{at}", one.dtype, (2**18,), one.storage, at) for at in range(33)]
    with pytest.raises(UsageError, match="the source has 2,097,152 bytes of them"):
        make_plan(checkpoint_of(*views), asked, lambda held, _: len(held))


@pytest.mark.parametrize(
    ("scale", "weights", "dtype"),
    [
        ("l.weight_scale_inv", "l.weight", "F8_E4M3"),
        ("l.weight_scale", "l.weight", "I8"),
        ("l.weight.absmax", "l.weight", "U8"),
        ("l.weight.quant_map", "l.weight", "U8"),
        ("l.scales", "l.qweight", "I32"),
        ("l.weight_scale", "l.weight_packed", "I32"),
        ("l.weight.SCB", "l.weight", "I8"),
    ],
)
def test_quantised_weights_are_refused(scale: str, weights: str, dtype: str) -> None:
    """Scales beside weights of few bits are an error that names both, unless they are kept."""
    tensors = [of_type(weights, dtype), floats(scale, 1), floats("other", 1, 8)]
    with pytest.raises(UsageError, match="is quantised") as caught:
        convert(tensors, BF16)
    assert weights in caught.value.message
    assert scale in caught.value.message
    made = convert(tensors, Conversion("BF16", (scale, weights)))
    assert [tensor.dtype.name for tensor in made.tensors] == [dtype, "F32", "BF16"]


def test_a_scale_of_a_model_is_a_weight() -> None:
    """Names that sound like scales are converted where no quantised weights are beside them."""
    tensors = [floats("logit_scale", 1), floats("layer.scale", 1, 8), floats("layer", 1, 16)]
    assert all(tensor.dtype.name == "BF16" for tensor in convert(tensors, BF16).tensors)


def test_keeping_needs_a_conversion() -> None:
    """Patterns of what is kept mean nothing where nothing is converted."""
    assert conversion_of(None, []) is None
    assert conversion_of("bf16", ["a"]) == Conversion("BF16", ("a",))
    with pytest.raises(UsageError, match="needs a conversion"):
        conversion_of(None, ["a"])


@pytest.mark.parametrize(
    ("conversion", "note"),
    [
        (Conversion("F32"), "converts nothing: all floating-point tensors are F32, or kept"),
        (
            Conversion("BF16", ("*",)),
            "converts nothing: all floating-point tensors are BF16, or kept",
        ),
        (BF16, "converts 1 tensor from F32 to BF16"),
    ],
)
def test_a_plan_says_what_is_converted(conversion: Conversion, note: str) -> None:
    """Also that nothing is: a type that was asked for would be looked for in vain."""
    asked = Request(Limits(num_shards=1), "bin", ".bin", "m", conversion=conversion)
    made = make_plan(checkpoint_of(floats("a", 1)), asked, lambda held, _: len(held))
    assert made.notes == (note,)
    assert made.left == ()  # what a single `.bin` has no room for is not the source's
