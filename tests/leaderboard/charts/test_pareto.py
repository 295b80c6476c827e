from __future__ import annotations

import pandas as pd
import pytest
from record_factory import make_record

from benchmark.records.runs import FAMILIES
from leaderboard.board.frame import rank_text
from leaderboard.board.library import build
from leaderboard.charts import pareto


def board(*points: tuple[float, float]) -> pd.DataFrame:
    records = [
        make_record(name=f"entry {i}", defense=("undefended", "dp_sgd")[i % 2], settings={"i": i}, utility=u, leakage=v)
        for i, (u, v) in enumerate(points)
    ]
    return build(records).frame


def marks(spec: dict, kind: str) -> list[dict]:
    return [layer for layer in spec["layer"] if layer["mark"]["type"] == kind]


def rows(spec: dict, layer: dict) -> list[dict]:
    return spec["datasets"][layer.get("data", spec.get("data"))["name"]]


def test_pareto_puts_better_up_and_to_the_right():
    spec = pareto.pareto(board((0.8, 0.5), (0.6, 0.1), (0.5, 0.6))).to_dict()
    x, y = marks(spec, "point")[0]["encoding"]["x"], marks(spec, "point")[0]["encoding"]["y"]
    assert x["field"] == "leakage"
    assert x["scale"]["reverse"] is True
    assert y["field"] == "utility"
    assert not y["scale"].get("reverse")
    low, high = x["scale"]["domain"]
    assert low < 0 < 0.6 < high  # 0 = nothing leaks is always in sight


def test_pareto_tells_families_by_colour_and_by_shape():
    spec = pareto.pareto(board((0.8, 0.5), (0.6, 0.1))).to_dict()
    encoding = marks(spec, "point")[0]["encoding"]
    assert (
        encoding["color"]["scale"]["domain"] == ["No defence", "Differential privacy"] == encoding["shape"]["scale"]["domain"]
    )
    assert len(set(encoding["color"]["scale"]["range"])) == len(set(encoding["shape"]["scale"]["range"])) == 2
    assert set(pareto.STYLES) == set(FAMILIES.values())
    assert len({shape for _, shape in pareto.STYLES.values()}) == len(pareto.STYLES)


def test_pareto_names_every_entry_for_which_there_is_room_and_fills_the_front():
    frame = board((0.8, 0.5), (0.6, 0.1), (0.5, 0.7))
    spec = pareto.pareto(frame).to_dict()
    assert all(row["place_of_name"] >= 0 for row in rows(spec, spec))
    assert {row["entry"] for row in rows(spec, spec) if row["front"]} == {"entry 0", "entry 1"}
    filters = [layer["transform"][0]["filter"] for layer in marks(spec, "point")]
    assert filters == ["!datum.front", "datum.front"]


def test_a_dot_opens_its_entry():
    frame = board((0.8, 0.5))
    spec = pareto.pareto(frame).to_dict()
    assert all(layer["encoding"]["href"]["field"] == "address" for layer in marks(spec, "point"))
    assert rows(spec, spec)[0]["address"] == f"submission?entry={frame['key'][0]}"


def test_the_zone_in_which_nothing_was_found_ends_at_the_largest_detection_limit():
    frame = board((0.8, 0.5), (0.6, 0.01), (0.5, 0.02))
    (zone,) = marks(pareto.pareto(frame).to_dict(), "rect")
    limit = frame.loc[frame["nothing_found"], "leakage_high"].max()
    assert pareto.detection_limit(frame) == limit
    assert zone["encoding"]["x2"]["field"] == "to"
    assert not marks(pareto.pareto(board((0.8, 0.5))).to_dict(), "rect")


def test_pareto_shows_intervals_and_n():
    spec = pareto.pareto(board((0.8, 0.5))).to_dict()
    across, along = marks(spec, "rule")
    assert (across["encoding"]["x"]["field"], across["encoding"]["x2"]["field"]) == ("leakage_low", "leakage_high")
    assert (along["encoding"]["y"]["field"], along["encoding"]["y2"]["field"]) == ("utility_low", "utility_high")
    (row,) = rows(spec, marks(spec, "point")[0])
    assert row["utility_text"].startswith("0.800 [0.7")
    assert row["utility_text"].endswith("n = 150 people")


def test_names_without_room_are_left_out_and_counted():
    chart = pareto.pareto(board(*[(0.8 - 1e-5 * i, 0.5 - 1e-5 * i) for i in range(20)]), height=460)
    named = chart.data[chart.data["place_of_name"] >= 0]
    assert 0 < len(named) < 20
    assert pareto.nameless(chart) == 20 - len(named)
    assert pareto.nameless(pareto.pareto(board((0.8, 0.5), (0.6, 0.1)))) == 0


def test_pareto_leaves_out_what_was_not_measured():
    frame = build([make_record(), make_record(name="none", settings={"a": 1}, headline=False)]).frame
    spec = pareto.pareto(frame).to_dict()
    assert [row["entry"] for row in rows(spec, marks(spec, "point")[0])] == ["undefended"]
    assert "1 entries" in pareto.pareto_alt(frame)


def test_pareto_text_is_readable_in_both_themes():
    colours = {theme: pareto.pareto(board((0.8, 0.5)), theme).to_dict() for theme in ("light", "dark")}
    inks = {theme: [layer["mark"]["color"] for layer in marks(spec, "text")] for theme, spec in colours.items()}
    assert pareto.INK["light"] in inks["light"]
    assert pareto.INK["dark"] in inks["dark"]
    assert not set(inks["light"]) & set(inks["dark"])


@pytest.mark.parametrize(
    ("rank", "tied", "text"),
    [(1, True, "1 ="), (2, False, "2"), (None, False, "–"), (pd.NA, False, "–")],
)
def test_place(rank, tied, text):
    assert rank_text(rank, tied) == text


def test_short():
    assert pareto.short("abc", 3) == "abc"
    assert pareto.short("abcd efgh", 6) == "abcd…"


def test_pareto_keeps_the_value_at_which_nothing_leaks_in_sight():
    spec = pareto.pareto(board((0.8, 0.9)), title="AUC", least=0.5).to_dict()
    x = marks(spec, "point")[0]["encoding"]["x"]
    assert x["title"].startswith("AUC")
    assert x["scale"]["domain"][0] < 0.5
