"""A model and a checkpoint are matched by name and shape, tied names included."""

from __future__ import annotations

from typing import Any

import pytest

from shardctl.errors import UsageError
from shardctl.model import DTYPES, Extent, Storage, Tensor

torch = pytest.importorskip("torch")


def tensor(name: str, shape: tuple[int, ...] = (2,), dtype: str = "F32") -> Tensor:
    """A tensor of a checkpoint."""
    return Tensor(name, DTYPES[dtype], shape, Storage(Extent("f", 0, 1_000), name))


def named(*tensors: Tensor) -> dict[str, Tensor]:
    """Tensors by name."""
    return {each.name: each for each in tensors}


def net() -> Any:
    """A model with a parameter under two names, a buffer, and one that is not saved."""
    model = torch.nn.Module()
    model.w = torch.nn.Parameter(torch.zeros(2))
    model.inner = torch.nn.Module()
    model.inner.tied = model.w
    model.register_buffer("counts", torch.zeros(2))
    model.register_buffer("scratch", torch.zeros(2), persistent=False)
    return model


def matched(model: Any, *tensors: Tensor, values: Any = None, aliases: tuple[str, ...] = ()) -> Any:
    """What a checkpoint has for a model."""
    from shardctl.torch.loading.places import match, places_of

    return match(places_of(model), list(model.state_dict()), named(*tensors), values or {}, aliases)


def test_tied_parameters_are_one_place() -> None:
    """With all their names and modules; replaced, every module has the new one."""
    from shardctl.torch.loading.places import places_of

    model = net()
    places = {tuple(place.names): place for place in places_of(model)}
    assert set(places) == {("w", "inner.tied"), ("counts",), ("scratch",)}
    tied = places["w", "inner.tied"]
    assert tied.is_parameter
    assert not places["counts",].is_parameter
    new = torch.ones(2)
    tied.set(new, assign=True)
    assert model.w is model.inner.tied
    assert isinstance(model.w, torch.nn.Parameter)
    assert model.w.requires_grad
    assert model.w.data_ptr() == new.data_ptr()


def test_values_are_copied_or_taken() -> None:
    """A copy leaves the parameter where it is; whole numbers never require a gradient."""
    from shardctl.torch.loading.places import places_of

    model = net()
    place = places_of(model)[0]
    before = model.w
    place.set(torch.full((2,), 7.0), assign=False)
    assert model.w is before
    assert model.w.tolist() == [7, 7]
    place.set(place.tensor, assign=True)
    assert model.w is before
    place.set(torch.ones(2, dtype=torch.int64), assign=True)
    assert not model.w.requires_grad


def test_a_tied_name_is_enough() -> None:
    """One of the names fills the place; of two the last counts, as in torch."""
    found = matched(net(), tensor("w"), tensor("counts"))
    assert (found.missing, found.unexpected, found.shapes) == ([], [], [])
    assert [each.name for _, each in found.pairs] == ["w", "counts"]
    found = matched(net(), tensor("w"), tensor("inner.tied"), tensor("counts"))
    assert [each.name for _, each in found.pairs] == ["inner.tied", "counts"]


def test_what_does_not_fit_is_listed() -> None:
    """Missing, unexpected and of another shape; names that are only recorded are not unexpected."""
    found = matched(
        net(), tensor("counts", (3,)), tensor("more"), tensor("alias"), aliases=("alias",)
    )
    assert found.missing == ["w", "inner.tied"]
    assert found.unexpected == ["more"]
    assert found.shapes == [("counts", (3,), (2,))]
    assert found.pairs == []


def test_each_of_tied_names_must_fit() -> None:
    """A shape that differs is listed whichever of the names has it, as torch compares them all."""
    found = matched(net(), tensor("w", (3,)), tensor("inner.tied"), tensor("counts"))
    assert found.shapes == [("w", (3,), (2,))]
    found = matched(net(), tensor("w", (3,)), tensor("inner.tied", (4,)), tensor("counts"))
    assert found.shapes == [("w", (3,), (2,)), ("inner.tied", (4,), (2,))]
    assert [each.name for _, each in found.pairs] == ["counts"]


def test_a_buffer_that_is_not_saved() -> None:
    """It is loaded where the checkpoint has it; of another size it is computed, and unexpected."""
    whole = (tensor("w"), tensor("counts"))
    found = matched(net(), *whole, tensor("scratch"))
    assert [each.name for _, each in found.pairs] == ["w", "counts", "scratch"]
    found = matched(net(), *whole, tensor("scratch", (9,)))
    assert (found.shapes, found.unexpected) == ([], ["scratch"])
    assert matched(net(), *whole).missing == []


def test_values_that_modules_supply() -> None:
    """They fill places that the checkpoint lacks, and no others."""
    value = torch.ones(2)
    found = matched(net(), tensor("w"), values={"counts": value, "w": value, "odd": value})
    assert [(place.names, given) for place, given in found.given] == [(["counts"], value)]
    assert found.missing == []
    assert "odd" in found.unexpected


def test_names_are_changed_by_the_longest_prefix() -> None:
    """None leaves tensors out; a function gives any name."""
    from shardctl.torch.loading.places import renamed

    tensors = named(tensor("model.a"), tensor("model.head.b"), tensor("x"))
    found = renamed(tensors, {"model.": "", "model.head.": None})
    assert list(found) == ["a", "x"]
    assert renamed(tensors, None) == tensors
    assert list(renamed(tensors, lambda name: name.upper() if name == "x" else None)) == ["X"]


@pytest.mark.parametrize(
    ("rename", "words"),
    [
        ({"b": "a"}, "'a' and 'b' one name, 'a'"),
        (lambda _: 7, "gives 'a' a int as its name"),
        ([("a", "b")], "`rename` is a list"),
        ("a", "`rename` is a str"),
    ],
)
def test_renames_that_lose_a_tensor_are_refused(rename: Any, words: str) -> None:
    """Two tensors under one name, and what is not a rename, are usage errors."""
    from shardctl.torch.loading.places import renamed

    with pytest.raises(UsageError) as caught:
        renamed(named(tensor("a"), tensor("b")), rename)
    assert words in caught.value.message
    assert caught.value.hint
