"""Line charts as SVG, both axes logarithmic: black on white, to be read on any page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720.0, 400.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 70.0, 150.0, 46.0, 56.0
#: Colours that differ in lightness too; markers tell the lines apart where there is none.
_COLOURS = ("#0b62a8", "#c2550a", "#2e7d32", "#6a3d9a")
#: Steps of a decade that get a line of the grid where there is room; the least distance of two
#: labels, in units of the picture, side by side and one above the other.
_STEPS, _BESIDE, _ABOVE = (1, 2, 5), 70.0, 30.0


@dataclass(frozen=True)
class Line:
    """One line: its name, and its points."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """An axis: what it says, how it writes a value, and the values at its ends, both above 0."""

    title: str
    label: Callable[[float], str]
    low: float
    high: float

    def part(self, value: float) -> float:
        """Return the position of a value between the ends: 0 to 1."""
        return math.log(value / self.low) / math.log(self.high / self.low)

    def ticks(self, length: float, apart: float) -> Iterator[float]:
        """Yield values for the grid of an axis of that length: as many as can be so far apart."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        dense = length / math.log10(self.high / self.low) * math.log10(2) >= apart
        for decade in decades:
            for step in _STEPS if dense else _STEPS[:1]:
                value = step * 10.0**decade
                if self.low * 0.999 <= value <= self.high * 1.001:
                    yield value


def axis(title: str, label: Callable[[float], str], values: Sequence[float]) -> Axis:
    """The axis that holds these values: its ends are round numbers."""
    low, high = _round_down(min(values)), -1.0
    for decade in range(
        math.floor(math.log10(max(values))), math.floor(math.log10(max(values))) + 2
    ):
        for step in _STEPS:
            if high < 0 and step * 10.0**decade >= max(values) * 0.999:
                high = step * 10.0**decade
    # One value alone, or several that are equal, still need an axis with two ends.
    return Axis(title, label, low, high if high > low else 10 * low)


def _round_down(value: float) -> float:
    decade = 10.0 ** math.floor(math.log10(value))
    return max(step * decade for step in _STEPS if step * decade <= value * 1.001)


def draw(title: str, across: Axis, up: Axis, lines: Sequence[Line]) -> str:
    """The picture, as the text of an SVG file."""
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + width * across.part(x), _TOP + height * (1 - up.part(y))

    box = f'viewBox="0 0 {WIDTH:g} {HEIGHT:g}" width="{WIDTH:g}" height="{HEIGHT:g}"'
    style = 'font-family="system-ui, sans-serif" font-size="12" fill="#1b1b1b"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" {style}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH:g}" height="{HEIGHT:g}" rx="6" fill="#ffffff"/>',
        _text(_LEFT, 24, title, 'font-size="14" font-weight="600"'),
        _text(_LEFT + width / 2, HEIGHT - 14, across.title, 'text-anchor="middle"'),
        _text(-(_TOP + height / 2), 18, up.title, 'text-anchor="middle" transform="rotate(-90)"'),
    ]
    for value in across.ticks(width, _BESIDE):
        x, _ = place(value, up.low)
        parts.append(_grid(x, _TOP, x, _TOP + height))
        parts.append(_text(x, _TOP + height + 18, across.label(value), 'text-anchor="middle"'))
    for value in up.ticks(height, _ABOVE):
        _, y = place(across.low, value)
        parts.append(_grid(_LEFT, y, _LEFT + width, y))
        parts.append(_text(_LEFT - 8, y + 4, up.label(value), 'text-anchor="end"'))
    drawn = [(line.name, [place(*point) for point in sorted(line.points)]) for line in lines]
    names = _spread([points[-1][1] for _, points in drawn])
    for number, ((name, points), name_y) in enumerate(zip(drawn, names, strict=True)):
        parts.extend(_line(name, points, name_y, number))
    return "\n".join([*parts, "</svg>", ""])


def _line(
    name: str, points: Sequence[tuple[float, float]], name_y: float, number: int
) -> Iterator[str]:
    colour = _COLOURS[number % len(_COLOURS)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for x, y in points:
        yield _marker(x, y, colour, number)
    yield _text(points[-1][0] + 12, name_y + 4, name, f'fill="{colour}" font-weight="600"')


def _marker(x: float, y: float, colour: str, number: int) -> str:
    if number % 2 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}"/>'


def _spread(heights: Sequence[float]) -> list[float]:
    """Return the heights of the lines' names: those of their ends, moved down to be apart."""
    placed: dict[int, float] = {}
    lowest = -math.inf
    for number in sorted(range(len(heights)), key=lambda each: heights[each]):
        lowest = max(heights[number], lowest + 16)
        placed[number] = lowest
    return [placed[number] for number in range(len(heights))]


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#d8d8d8"/>'


def _text(x: float, y: float, text: str, attributes: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(text)}</text>'
