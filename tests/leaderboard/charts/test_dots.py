from __future__ import annotations

import json

import pandas as pd
import pytest
from record_factory import make_record

from leaderboard.charts import dots
from leaderboard.tables import details


def data(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["label", "group", "value", "low", "high"]).assign(text="")


def layer(spec: dict, kind: str) -> dict:
    return next(part for part in spec["layer"] if part["mark"]["type"] == kind)


def rows(spec: dict, part: dict) -> list[dict]:
    return spec["datasets"][part.get("data", spec.get("data"))["name"]]


def test_every_value_has_a_place_of_its_own_under_the_name_of_its_row_on_a_phone():
    frame = details.attack_dots(details.attack_frame(make_record(leakage=0.4)))
    spec = dots.dots(frame, details.CONTRAST_STYLES, "AUC", least=0.5, narrow=True).to_dict()
    points = rows(spec, layer(spec, "point"))
    assert len(points) == len({row["row"] for row in points}) == 9
    names = {row["label"]: row["row"] for row in rows(spec, layer(spec, "text"))}
    assert list(names) == list(dict.fromkeys(frame["label"]))
    for row in points:
        assert row["row"] > names[row["label"]]
    assert layer(spec, "rule")  # intervals


def test_elsewhere_names_are_labels_of_the_axis_level_with_their_dots():
    frame = details.attack_dots(details.attack_frame(make_record(leakage=0.4)))
    spec = dots.dots(frame, details.CONTRAST_STYLES, "AUC", least=0.5).to_dict()
    axis = layer(spec, "point")["encoding"]["y"]["axis"]
    labels = list(dict.fromkeys(frame["label"]))
    assert json.dumps(labels) in axis["labelExpr"]
    points = pd.DataFrame(rows(spec, layer(spec, "point")))
    middles = points.groupby("label", sort=False)["row"].mean()
    assert [middles[label] for label in labels] == pytest.approx(axis["values"])


def test_the_axis_of_an_auc_begins_at_045():
    spec = dots.dots(data(("a", "g", 0.9, 0.88, 0.92)), dots.styles(["g"]), "AUC", least=0.5).to_dict()
    assert layer(spec, "point")["encoding"]["x"]["scale"]["domain"][0] == pytest.approx(0.45)


def test_groups_differ_by_colour_and_by_shape():
    groups = [f"g{i}" for i in range(7)]
    styles = dots.styles(groups)
    assert len({colour for colour, _ in styles.values()}) == len({shape for _, shape in styles.values()}) == 7


@pytest.mark.parametrize("value", [0.31, 0.97])
def test_values_and_the_value_of_chance_are_in_sight(value):
    spec = dots.dots(data(("a", "g", value, value - 0.03, value + 0.02)), dots.styles(["g"]), "AUC", least=0.5).to_dict()
    low, high = layer(spec, "point")["encoding"]["x"]["scale"]["domain"]
    assert low < min(value - 0.03, 0.5)
    assert high > max(value + 0.02, 0.5)


def test_a_value_without_interval_is_drawn_and_one_group_needs_no_legend():
    spec = dots.dots(data(("a", "g", 0.6, None, None), ("b", "g", None, None, None)), dots.styles(["g"]), "AUC").to_dict()
    assert [row["label"] for row in rows(spec, layer(spec, "point"))] == ["a"]
    assert layer(spec, "point")["encoding"]["color"]["legend"] is None
