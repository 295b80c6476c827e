"""Where the names of points stand: beside their point, on no other point and on no other name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LINE, LETTER, DOT = 15.0, 6.6, 7.0  # pixels: height of a name, width of a letter, half a point


@dataclass(frozen=True)
class Place:
    """Where a name stands from its point, in pixels; ``align`` is the end of it that is fixed there."""

    align: str  # left, center or right
    dx: float
    dy: float  # down


PLACES = (
    Place("left", 11, 0), Place("right", -11, 0), Place("center", 0, -16), Place("center", 0, 17),
    Place("left", 9, -15), Place("left", 9, 16), Place("right", -9, -15), Place("right", -9, 16),
    Place("left", 9, -30), Place("left", 9, 31), Place("right", -9, -30), Place("right", -9, 31),
)  # fmt: skip
_Box = tuple[float, float, float, float]  # left, top, right, bottom


def place_names(points: Sequence[tuple[float, float]], names: Sequence[str], width: float, height: float) -> list[int | None]:
    """For each point the index in :data:`PLACES` of its name's place; None where there is no room.

    Args:
        points: (x, y) in pixels of a plot of that width and height, the most important first.
    """
    taken: list[_Box] = [(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in points]
    chosen: list[int | None] = []
    for (x, y), name in zip(points, names, strict=True):
        boxes = [_box(x, y, LETTER * len(name), place) for place in PLACES]
        free = [i for i, box in enumerate(boxes) if _inside(box, width, height) and not any(_overlap(box, t) for t in taken)]
        chosen.append(free[0] if free else None)
        if free:
            taken.append(boxes[free[0]])
    return chosen


def _box(x: float, y: float, length: float, place: Place) -> _Box:
    left = x + place.dx - {"left": 0, "center": length / 2, "right": length}[place.align]
    return left, y + place.dy - LINE / 2, left + length, y + place.dy + LINE / 2


def _inside(box: _Box, width: float, height: float) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
