"""The templates of a report, filled with its content: names are data there, never markup."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from shardctl._version import __version__
from shardctl.report.content import Content
from shardctl.report.drawing import picture
from shardctl.report.tables import COLOURS, palettes, tables
from shardctl.sizes import format_size
from shardctl.text import plural
from shardctl.view.shares import percent_text
from shardctl.view.tensors import shape_text

#: Text near the start of every report, which other files of that suffix do not have.
MARKER = "made by shardctl, as a report"
#: Characters that could end a script's element, and how JSON writes them without.
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def as_html(content: Content) -> str:
    """Return a page that loads nothing: style, script and data are in it.

    Its policy forbids the network.
    """
    style, script = _asset("page.css"), _asset("page.js")
    return _render(
        "page.html",
        {
            "content": content,
            "bars": content.bars,
            "longest": content.bars.longest,
            "palettes": palettes(content),
            "tables": tables(content),
            "style": style,
            "script": script,
            "style_digest": _digest(style),
            "script_digest": _digest(script),
            "data": embedded(data_of(content)),
        },
    )


def as_svg(content: Content) -> str:
    """Return an image without a script, for a README."""
    return _render("picture.svg", {"content": content, "picture": picture(content)})


def data_of(content: Content) -> dict[str, Any]:
    """Return what the page's script draws.

    Each tensor is its name, dtype, shape, bytes, offset, number of other names, elements, and its
    group in each of the `colourings`; a group and a dtype are places in their lists.
    """
    dtypes = {share.name: place for place, share in enumerate(content.dtypes)}
    used = palettes(content)
    places = [{share.name: place for place, share in enumerate(palette.shares)} for palette in used]
    return {
        "dtypes": list(dtypes),
        "colourings": [
            {
                "title": palette.title,
                "groups": [share.name for share in palette.shares],
                "colours": [palette.colour(share.name) for share in palette.shares],
            }
            for palette in used
        ],
        "other": COLOURS,
        "limit": content.limit,
        "shards": [
            {
                "name": file.bar.name,
                "size": file.bar.size,
                "nbytes": file.bar.nbytes,
                "tensors": [
                    [
                        row.name,
                        dtypes[row.dtype],
                        shape_text(row.shape),
                        row.nbytes,
                        row.offset,
                        row.others,
                        math.prod(row.shape),
                        *(
                            place[palette.group(row)]
                            for palette, place in zip(used, places, strict=True)
                        ),
                    ]
                    for row in file.rows
                ],
            }
            for file in content.files
        ],
    }


def embedded(document: Mapping[str, Any]) -> str:
    """Return JSON for the inside of a script's element: ASCII, and nothing that could end it."""
    text = json.dumps(document, separators=(",", ":"))
    for character, written in _IN_SCRIPT.items():
        text = text.replace(character, written)
    return text


def _digest(text: str) -> str:
    """The digest by which a page's policy allows a script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return (
        resources.files("shardctl.report").joinpath("templates", name).read_text(encoding="utf-8")
    )


def _render(template: str, values: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        size=format_size, percent=percent_text, shape=shape_text, plural=plural
    )
    # Everything is escaped except what a template marks as safe: the style and the script, which
    # are ours, and the data, which `embedded` has made safe.
    return environment.get_template(template).render(
        {**values, "marker": MARKER, "version": __version__}
    )
