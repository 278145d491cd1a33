"""The corpus of broken and odd files of before torch 1.6: a part of `torch_cases`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.corruption.hostile_pickles import text
from tests.support.legacy_files import SYSTEM, dump, legacy

_PLAIN: Mapping[str, Any] = {"storages": {"s": range(4)}, "tensors": {"w": ("s", None, 0, (4,))}}


def add_legacy(add: Callable[..., None]) -> None:
    """The files of before torch 1.6."""
    add("legacy", None, lambda: legacy(**_PLAIN))
    add("legacy view", None, lambda: _one_view(("v", 1, 2), (2,)))
    add("legacy: other protocol", "pickle-invalid", lambda: legacy(protocol=1002, **_PLAIN))
    add(
        "legacy: protocol of nested tuples",
        "pickle-invalid",
        lambda: _swap(b"\x80\x02)" + b"\x85" * 100_000 + b"."),
    )
    add(
        "legacy: big-endian",
        "pickle-invalid",
        lambda: legacy(system={**SYSTEM, "little_endian": False}, **_PLAIN),
    )
    add("legacy: no system", "pickle-invalid", lambda: legacy(system=[], **_PLAIN))
    add("legacy: no keys", "pickle-invalid", lambda: legacy(keys=[], **_PLAIN))
    add("legacy: other keys", "pickle-invalid", lambda: legacy(keys=["t"], **_PLAIN))
    add("legacy: a key twice", "pickle-invalid", lambda: legacy(keys=["s", "s"], **_PLAIN))
    add("legacy: keys that are numbers", "pickle-invalid", lambda: legacy(keys=[1], **_PLAIN))
    add("legacy: keys in a dict", "pickle-invalid", lambda: legacy(keys={"s": 1}, **_PLAIN))
    add("legacy: other count", "tensor-size-mismatch", lambda: legacy(counts={"s": 5}, **_PLAIN))
    add(
        "legacy: negative count", "tensor-size-mismatch", lambda: legacy(counts={"s": -1}, **_PLAIN)
    )
    add("legacy: trailing byte", "file-trailing-bytes", lambda: legacy(**_PLAIN) + b"x")
    add("legacy: ends in the data", "file-truncated", lambda: legacy(**_PLAIN)[:-1])
    add("legacy: ends in the count", "file-truncated", lambda: legacy(**_PLAIN)[:-18])
    add("legacy: ends in the pickles", "file-truncated", lambda: legacy(**_PLAIN)[:100])
    add("legacy: view outside", "pickle-invalid", lambda: _one_view(("v", 3, 2), (2,)))
    add("legacy: malformed view", "pickle-invalid", lambda: _one_view(("v", 3), (2,)))
    add(
        "legacy: tensor beyond its view",
        "tensor-out-of-bounds",
        lambda: _one_view(("v", 1, 2), (3,)),
    )
    add(
        "legacy: root a list",
        "pickle-invalid",
        lambda: legacy(root=dump([]), storages={}, tensors={}),
    )
    add(
        "legacy: hostile root",
        "pickle-invalid",
        lambda: legacy(
            root=b"\x80\x02cos\nsystem\n" + text("x") + b"\x85R.", storages={}, tensors={}
        ),
    )


def _one_view(view: tuple[object, ...], shape: tuple[int, ...]) -> bytes:
    return legacy(storages={"s": range(4)}, tensors={"w": ("s", view, 0, shape)})


def _swap(protocol: bytes) -> bytes:
    """The legacy file with another second pickle, as it is."""
    data = legacy(**_PLAIN)
    usual = dump(1001)
    return data.replace(usual, protocol, 1)
