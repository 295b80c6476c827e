from __future__ import annotations

from record_factory import make_record

from benchmark.interfaces import Contrast
from leaderboard.board.library import build
from leaderboard.tables import resistance


def tries():
    made = [make_record("leaky", leakage=0.6), make_record("tight", "dp_sgd", {"e": 1}, leakage=0.01)]
    return resistance.tries(list(build(made).entries.values()))


def test_who_resists_is_who_the_attack_does_not_beat_chance_on():
    entries = resistance.entries_of(tries(), "regrown_head", Contrast.SAMPLE)
    assert list(zip(entries["label"], entries["resists"], strict=True)) == [("tight", True), ("leaky", False)]
    assert entries["group"].tolist() == ["Differential privacy", "No defence"]


def test_the_overview_counts_and_sorts():
    table = resistance.overview(tries(), Contrast.SAMPLE).set_index("attack")
    assert table.index[0] == "regrown_head"
    assert table.loc["regrown_head", ["put to", "measured", "resisted by"]].tolist() == [2, 2, 1]
    without = table.loc["bn_distance(statistics=feature_means)"]
    assert without[["put to", "measured", "resisted by"]].tolist() == [2, 0, 0]
    assert without["adaptive"] == "yes"


def test_attacks_without_a_result_are_there_with_their_status():
    frame = tries()
    assert set(frame.loc[frame["attack"] == "bn_distance(statistics=feature_means)", "status"]) == {"not_applicable"}
    assert resistance.entries_of(frame, "bn_distance(statistics=feature_means)", Contrast.SAMPLE).empty
