"""What the tests of reports share: hostile names, and the contents of a page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

HOSTILE = {
    "<img src=x onerror=alert(1)>.w": 400, "</script><script>alert(2)</script>": 400,
    "nul\x00.w": 800, "bidi\u202etxt.w": 400, "__proto__.constructor": 400, "line\u2028end": 400,
    "'\"&amp;{{ 7*7 }}": 400, "שלום.עולם": 400, "名前.重み": 400, "..": 400, "a" * 300: 400,
}  # fmt: skip
Call = Callable[..., tuple[str, str]]


class Elements(HTMLParser):
    """What a page is made of: its elements, and its texts by element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append((self.tags[-1] if self.tags else "", data))


def data_of(path: Path) -> Any:
    """The data that a page's script draws."""
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>',
        path.read_text("utf-8"),
        re.DOTALL,
    )
    assert found is not None
    return json.loads(found[1])
