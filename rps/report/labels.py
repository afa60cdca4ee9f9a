"""Labels of points, placed so that they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

OFFSETS = [(7, 8), (-7, 8), (7, -8), (-7, -8), (0, 15), (0, -15), (16, 0), (-16, 0)]
"""From a point to the middle of the near edge of its label, in typographic points; the first of the best is taken."""
WIDTH, HEIGHT = 0.62, 1.15
"""Of a character, in font sizes: the mean width of a digit, with a little room."""


class Label(NamedTuple):
    """text: "" for a point without a label, which others avoid."""

    text: str
    x: float
    y: float
    colour: str


def add_labels(axes: Any, labels: Sequence[Label], size: float) -> None:
    """Writes the labels, in order, each at the offset where it covers least.  size: of the font."""
    from matplotlib.patheffects import withStroke

    axes.figure.draw_without_rendering()  # lays out the axes, which the places depend on
    places = axes.transData.transform([(label.x, label.y) for label in labels]) * 72 / axes.figure.dpi
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in places.tolist()]
    for label, (x, y) in zip(labels, places.tolist(), strict=True):
        if not label.text:
            continue
        width, height = WIDTH * size * len(label.text), HEIGHT * size

        def box(offset: tuple[int, int], x: float = x, y: float = y, w: float = width, h: float = height) -> Any:
            dx, dy = offset
            left = x + dx - (w if dx < 0 else 0 if dx > 0 else w / 2)
            return left, y + dy - h / 2, left + w, y + dy + h / 2

        dx, dy = min(OFFSETS, key=lambda offset: sum(_overlap(box(offset), other) for other in taken))
        taken.append(box((dx, dy)))
        axes.annotate(
            label.text, (label.x, label.y), (dx, dy), textcoords="offset points", va="center", fontsize=size,
            ha="left" if dx > 0 else "right" if dx < 0 else "center", color=label.colour, zorder=4,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """The area that two boxes (left, bottom, right, top) share."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)
