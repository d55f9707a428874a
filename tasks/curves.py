"""A training run's curves as one SVG picture: a row for each part, a panel for each figure, from the recorded points.

Plain arithmetic over records: no plotting library for lines in boxes. Text is escaped; nothing external is referred to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from sql import TrainingFigureRecord

WIDTH, HEIGHT = 240, 150
"""Of a panel, in the picture's units (pixels at its own size)."""
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 26, 20
"""From the panel's edges to the box of the curve."""

STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#334}.name{font-weight:600}.part{font-size:14px;font-weight:600}"
    ".tick{font-size:9px;fill:#667}.box{fill:#fff;stroke:#ccd}.curve{fill:none;stroke:#1f5fbf;stroke-width:1.4}"
    "circle{fill:#1f5fbf}"
)

Point = tuple[int, float]


@dataclass(frozen=True)
class Axis:
    """From values to places between 0 and 1; by powers of ten where all values are above zero."""

    low: float
    high: float
    powers: bool

    @classmethod
    def of(cls, values: Sequence[float]) -> Axis:
        return cls(min(values), max(values), min(values) > 0)

    def place(self, value: float) -> float:
        low, high, at = (math.log(each) if self.powers else each for each in (self.low, self.high, value))
        return (at - low) / (high - low) if high > low else 0.5


def curves(figures: Sequence[TrainingFigureRecord], order: Sequence[str]) -> str:
    """The picture, as the text of an SVG file. `order`: the parts from top to bottom.

    A point that is no number (a loss that went to infinity) is a gap in its curve.
    """
    rows = [(part, panels_of([each for each in figures if each.part == part])) for part in order]
    rows = [(part, panels) for part, panels in rows if panels]
    wide = max((len(panels) for _, panels in rows), default=1)
    width, height = wide * WIDTH + 10, len(rows) * (HEIGHT + 24) + 10
    body = "".join(_row(part, panels, place) for place, (part, panels) in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<style>{STYLE}</style><rect width="{width}" height="{height}" fill="#f6f7fa"/>{body}</svg>\n'
    )


def panels_of(figures: Sequence[TrainingFigureRecord]) -> list[tuple[str, list[TrainingFigureRecord]]]:
    """The curves of a part by name, `total` first and the gradient last."""
    by_name = sorted(figures, key=lambda each: (each.name != "total", each.name == "gradient", each.name, each.step))
    return [(name, list(points)) for name, points in groupby(by_name, key=lambda each: each.name)]


def _row(part: str, panels: Sequence[tuple[str, list[TrainingFigureRecord]]], place: int) -> str:
    drawn = "".join(
        f'<g transform="translate({number * WIDTH} 8)">{_panel(name, points)}</g>'
        for number, (name, points) in enumerate(panels)
    )
    top = place * (HEIGHT + 24) + 10
    return f'<g transform="translate(5 {top})"><text class="part" x="6" y="8">{escape(part)}</text>{drawn}</g>'


def _panel(name: str, points: Sequence[TrainingFigureRecord]) -> str:
    known = [(each.step, each.value) for each in points if each.value is not None]
    said = f"{known[-1][1]:.4g}" if known else "no numbers"
    title = f'<text class="name" x="{LEFT}" y="{TOP - 6}">{escape(name)} {said}</text>'
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    box = f'<rect class="box" x="{LEFT}" y="{TOP}" width="{width}" height="{height}" rx="2"/>'
    return title + box + (_curve(points, known) if known else "")


def _curve(points: Sequence[TrainingFigureRecord], known: Sequence[Point]) -> str:
    x, y = Axis(0, max(each.step for each in points), powers=False), Axis.of([value for _, value in known])
    lines = [
        " ".join(f"{across(x.place(each.step)):.1f},{down(y.place(each.value or 0)):.1f}" for each in run)
        for there, run in groupby(points, key=lambda each: each.value is not None)
        if there
    ]
    drawn = "".join(f'<polyline class="curve" points="{line}"/>' for line in lines)
    step, value = known[-1]
    end = f'<circle cx="{across(x.place(step)):.1f}" cy="{down(y.place(value)):.1f}" r="2"/>'
    ticks = [
        (LEFT - 4, TOP + 8, "end", f"{y.high:.3g}"),
        (LEFT - 4, HEIGHT - BOTTOM, "end", f"{y.low:.3g}"),
        (LEFT, HEIGHT - 6, "start", "0"),
        (WIDTH - RIGHT, HEIGHT - 6, "end", f"{x.high:.0f}"),
    ]
    return (
        drawn
        + end
        + "".join(f'<text class="tick" x="{a}" y="{b}" text-anchor="{c}">{d}</text>' for a, b, c, d in ticks)
    )


def across(place: float) -> float:
    """From 0..1 to a panel's units."""
    return LEFT + place * (WIDTH - LEFT - RIGHT)


def down(place: float) -> float:
    """From 0..1, upwards, to a panel's units, downwards."""
    return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
