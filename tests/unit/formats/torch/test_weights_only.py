"""What `weights_only` allows is what torch allows, and nothing else."""

from __future__ import annotations

import pytest

from shardctl.formats.torch.weights_only import unsafe


@pytest.mark.parametrize(
    "name",
    [
        "os.system", "builtins.eval", "torch.load", "torch.hub.load", "torch._utils._rebuild",
        "torch.nn.parameter.ParameterX", " torch.Tensor", "torch.tensor", "Torch.Tensor",
        "collections.defaultdict", "torch.sparse.BoolTensor", "", ".",
    ],
)  # fmt: skip
def test_any_other_name_is_unsafe(name: str) -> None:
    """A name is compared whole, with its case."""
    assert unsafe([name]) == (name,)


def test_the_order_of_unsafe_names_is_kept() -> None:
    """Names that are allowed are left out, the others stay in their order."""
    assert unsafe(["z.z", "torch.Tensor", "a.a", "torch.FloatStorage"]) == ("z.z", "a.a")
    assert unsafe([]) == ()


def test_the_allow_list_is_that_of_torch() -> None:
    """Nothing is called safe that torch's `weights_only` refuses, and nothing unsafe that it
    allows.
    """
    from torch._weights_only_unpickler import _get_allowed_globals

    from shardctl.formats.torch.weights_only import _ALLOWED

    theirs = set(_get_allowed_globals())
    python2 = {
        name.replace("builtins.", "__builtin__.") for name in theirs if name.startswith("builtins.")
    }
    assert set(_ALLOWED) == theirs | python2
