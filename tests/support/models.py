"""Random models of torch: nested modules, ties, views, all types, buffers of both kinds."""

from __future__ import annotations

import copy
import random
from typing import TYPE_CHECKING, Any

from tests.support.state_dicts import COMMON_DTYPES, random_tensor

if TYPE_CHECKING:
    import torch


def random_model(seed: int) -> torch.nn.Module:
    """A model of a few nested modules. The same seed gives the same model, bit by bit."""
    import torch

    draw = random.Random(seed)
    root = torch.nn.Module()
    modules = [root]
    for number in range(draw.randint(0, 4)):
        child = torch.nn.Module()
        draw.choice(modules).add_module(draw.choice(("a", "b", "layer")) + str(number), child)
        modules.append(child)
    made: list[torch.nn.Parameter] = []
    for number in range(draw.randint(1, 9)):
        module, name = draw.choice(modules), f"w{number}"
        kind = draw.choice(("own", "own", "own", "tied", "view", "buffer", "unsaved"))
        if kind == "tied" and made:
            setattr(module, name, draw.choice(made))
        elif kind == "view" and made and (base := draw.choice(made)).dim():
            module.register_buffer(name, base.detach()[draw.randint(0, len(base)) :])
        elif kind == "buffer":
            module.register_buffer(name, _drawn(draw))
        elif kind == "unsaved":
            module.register_buffer(name, _drawn(draw), persistent=False)
        else:
            made.append(torch.nn.Parameter(_drawn(draw), requires_grad=False))
            setattr(module, name, made[-1])
    return root


def _drawn(draw: random.Random) -> torch.Tensor:
    """A tensor of any type, of zero to three dimensions, now and then transposed or cut."""
    shape = tuple(draw.choice((0, 1, 2, 3, 7)) for _ in range(draw.randint(0, 3)))
    tensor = random_tensor(draw, draw.choice(COMMON_DTYPES), shape)
    if len(shape) == 2 and draw.random() < 0.3:
        return tensor.t()
    if len(shape) == 3 and draw.random() < 0.3:
        return tensor[:, ::2, 1:]
    return tensor


def emptied(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of a model with the same ties and views, and zeros in what its state dict has."""
    twin = copy.deepcopy(model)
    for tensor in twin.state_dict().values():
        storage: Any = tensor.untyped_storage()
        storage.fill_(0)
    return twin
