"""Names are data in a report, never markup, and a page loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from shardctl.commands.pipeline import inspect_all
from shardctl.report.content import Content, of_inspected
from shardctl.report.page import MARKER, as_html, as_svg, data_of, embedded
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights

HOSTILE = "</script><script>alert(1)</script>&amp;\"'"


def content(*names: str, directory: str = "m") -> Content:
    """What is shown of a file of tensors with these names."""
    store = MemoryStore()
    tensors = {name: bytes(10 * (at + 1)) for at, name in enumerate(names)}
    put(store, f"{directory}/model.safetensors", weights(tensors))
    return of_inspected(inspect_all(store, directory, key=None))


@pytest.mark.parametrize("value", [HOSTILE, "<!--", "\u2028", "é", "]]>"])
def test_data_cannot_end_its_element(value: str) -> None:
    """It is ASCII without angle brackets, and comes back equal."""
    text = embedded({"a": [value]})
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": [value]}


@pytest.mark.parametrize("draw", [as_html, as_svg])
def test_hostile_names_are_no_markup(draw: object) -> None:
    """Of tensors and of the source; the marker is at the start all the same."""
    assert callable(draw)
    text = draw(content(HOSTILE, "plain", directory=f"m{HOSTILE}".replace("/", "")))
    assert "<script>alert" not in text
    assert MARKER in text[:256]


def test_a_page_allows_its_own_script_and_style_only() -> None:
    """The policy has their digests, and forbids the network."""
    text = as_html(content("a.b"))
    policy = re.search(r'http-equiv="Content-Security-Policy"\s+content="([^"]*)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    for element in ("script", "style"):
        bodies = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digests = [
            base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies
        ]
        assert digests
        assert all(f"'sha256-{digest}'" in policy[1] for digest in digests)
    assert not re.search(r"(?:src|href)=[\"']?https?:", text)


def test_the_data_of_a_page() -> None:
    """Each tensor has its name, dtype, shape, bytes, offset, ties and elements; a dtype is a place
    in a list.
    """
    data = data_of(content("a", "b"))
    assert data["dtypes"] == ["U8"]
    (shard,) = data["shards"]
    assert (shard["name"], shard["nbytes"]) == ("model.safetensors", 30)
    first, second = shard["tensors"]
    assert first[:2] == ["a", 0]
    assert (first[3], second[3], first[5], second[6]) == (10, 20, 0, 20)
    assert second[4] - first[4] == 10
    for row in shard["tensors"]:
        assert len(row) == 7 + len(data["colourings"])
