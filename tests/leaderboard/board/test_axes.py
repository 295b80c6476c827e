from __future__ import annotations

import pytest
from record_factory import make_record

from leaderboard.board import axes
from leaderboard.board.axes import AXES
from leaderboard.board.library import build


def board():
    made = [
        make_record("strong", "dp_sgd", {"epsilon": 1}, utility=0.5, leakage=0.1),
        make_record("weak", "dp_sgd", {"epsilon": 8}, utility=0.7, leakage=0.3),
        make_record("early", "early_stopping", {"share": 0.5}, utility=0.6, leakage=0.4),
        make_record("plain", utility=0.8, leakage=0.7),
        make_record("half", settings={"a": 1}, complete=False),
    ]
    return build(made).frame


def test_the_rankings_own_axis_changes_nothing():
    frame = board()
    assert axes.on_axis(frame, AXES["Membership"]) is frame


def test_another_axis_takes_the_place_of_leakage_and_ranks_anew():
    frame = board()
    found = axes.on_axis(frame, AXES["Sample AUC"]).set_index("entry")
    for name, auc in frame.set_index("entry")["sample_auc"].items():
        assert found.loc[name, "leakage"] == auc
    assert found.loc["strong", "rank"] == 1
    assert found.loc["early", "rank"] == 2  # weak recognises better and leaks less, intervals apart
    assert found["rank"].isna().tolist() == [name == "half" for name in found.index]
    assert set(found["leakage_contrast"]) == {"sample"}


def test_axes_without_a_value_are_not_offered():
    names = axes.measured(board())
    assert "Sample AUC" in names
    assert "Inversion" not in names
    assert "TPR@1 %" not in names  # 600 photos are too few


@pytest.mark.parametrize(
    ("utility", "expected"),
    [
        (0.45, {"dp_sgd": ("strong", True), "early_stopping": ("early", True), "undefended": ("plain", True)}),
        (0.65, {"dp_sgd": ("weak", True), "early_stopping": ("early", False), "undefended": ("plain", True)}),
        (0.75, {"dp_sgd": ("weak", False), "early_stopping": ("early", False), "undefended": ("plain", True)}),
    ],
)
def test_at_the_same_utility_each_defence_shows_its_least_leaking_entry(utility, expected):
    frame = board()
    table = axes.at_utility(frame[frame["rank"].notna()], utility)
    assert {r.defense_name: (r.entry, r.reached) for r in table.itertuples()} == expected
    reached = table[table["reached"]]["leakage"].tolist()
    assert reached == sorted(reached)
    assert dict(zip(table["defense_name"], table["settings_tried"], strict=True))["dp_sgd"] == 2
