from __future__ import annotations

from itertools import combinations

import pytest

from leaderboard.charts import naming
from leaderboard.charts.naming import DOT, LETTER, LINE, PLACES, place_names


def boxes(points, names, chosen):
    for (x, y), name, place in zip(points, names, chosen, strict=True):
        if place is not None:
            at, length = PLACES[place], LETTER * len(name)
            left = x + at.dx - {"left": 0, "center": length / 2, "right": length}[at.align]
            yield left, y + at.dy - LINE / 2, left + length, y + at.dy + LINE / 2


@pytest.mark.parametrize("step", [0.5, 5, 20, 60])
def test_names_cover_no_point_and_no_other_name_and_stay_inside(step):
    points = [(200 + step * i, 150 + step * (i % 3)) for i in range(8)]
    names = [f"a name of some length {i}" for i in range(8)]
    chosen = place_names(points, names, 700, 300)
    found = list(boxes(points, names, chosen))
    dots = [(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in points]
    assert len(found) >= 2
    for one, other in [*combinations(found, 2), *((box, dot) for box in found for dot in dots)]:
        assert not naming._overlap(one, other)
    assert all(left >= 0 and top >= 0 and right <= 700 and bottom <= 300 for left, top, right, bottom in found)


def test_a_name_at_the_edge_stands_on_the_inner_side():
    (place,) = place_names([(695, 150)], ["name"], 700, 300)
    assert PLACES[place].align == "right"
    assert place_names([(5, 5)], ["much too long for this plot"], 60, 40) == [None]
