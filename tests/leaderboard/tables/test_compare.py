from __future__ import annotations

import numpy as np
from record_factory import make_record

from benchmark.interfaces import Contrast
from leaderboard.board.library import build
from leaderboard.tables import compare


def two(**fields):
    records = [make_record("one", utility=0.8, leakage=0.5), make_record("two", settings={"a": 1}, **fields)]
    return list(build(records).entries.values()), {r.card.name: r for r in records}


def test_differences_are_paired():
    entries, _ = two(utility=0.76, leakage=0.5)
    by_label = {e.label: e for e in entries}
    table = compare.differences([by_label["one"], by_label["two"]])
    # the noise of the people (sd 0.02) is shared; what is left is 0.005 * sqrt(2) around 0.04
    assert table["pair"].tolist() == ["A − B"]
    value, low, high = (float(x) for x in table["utility"][0].replace("[", "").replace("]", "").replace(",", "").split()[:3])
    assert value == 0.04
    assert 0.02 < low < 0.04 < high < 0.06
    assert table["utility"][0].endswith("significant")
    assert table["leakage"][0].endswith("within the noise")


def test_without_replicates_there_is_no_interval():
    a, b = make_record("a", n_replicates=0), make_record("b", settings={"x": 1}, n_replicates=0)
    (text,) = compare.differences(list(build([a, b]).entries.values()))["utility"]
    assert "no paired interval" in text


def test_names_tell_entries_of_one_name_apart():
    entries = list(build([make_record("same"), make_record("same", settings={"a": 1})]).entries.values())
    assert compare.names(entries) == ["A: same", "B: same"]


def test_the_strongest_attack_is_drawn_unless_another_is_named():
    _, records = two(leakage=0.3)
    assert set(compare.curves(records, Contrast.SAMPLE)["attack"]) == {"regrown_head"}
    assert set(compare.curves(records, Contrast.SAMPLE, "embedding_norm")["attack"]) == {"embedding_norm"}
    assert compare.curves(records, Contrast.SAMPLE, "unknown").empty


def test_attacks_come_in_the_order_of_their_strength():
    _, records = two(leakage=0.3)
    frame = compare.attack_dots(records, Contrast.SAMPLE)
    highest = frame.groupby("label", sort=False)["value"].max()
    assert list(highest) == sorted(highest, reverse=True)
    assert set(frame["group"]) == {"one", "two"}
    assert np.isfinite(frame[["value", "low", "high"]].to_numpy(float)).all()


def test_settings_that_differ_are_apart_from_those_that_do_not():
    _, records = two(defense="dp_sgd", board="weights")
    differing, same = compare.settings(records)
    assert {"name", "board", "defence.dp_sgd.a", "defence.undefended", "norm"} <= set(differing["setting"])
    assert {"embedding_size", "backbone.name", "protocol"} <= set(same["setting"])
    assert not set(differing["setting"]) & set(same["setting"])
    row = differing.set_index("setting").loc["norm"]
    assert (row["one"], row["two"]) == ("batch", "group")
