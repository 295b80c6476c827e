"""The answer is made from the entries, and says what they say."""

from __future__ import annotations

from record_factory import make_record

from benchmark.records.ranking import rank
from leaderboard.board.answer import answer


def entries(*records):
    return rank(records)


def test_the_best_defence_stands_first_and_the_controls_beside_it():
    text = answer(entries(
        make_record("plain", utility=0.64, leakage=0.75),
        make_record("dp", "dp_sgd", {"epsilon": 8}, utility=0.87, leakage=0.01),
        make_record("weak", "dropout", utility=0.5, leakage=0.7),
    ))  # fmt: skip
    first, second = text.split("; ")
    assert first.startswith("Dp recognises 0.870 [")
    assert "nothing was found (at most 0." in first
    assert second.startswith("plain recognises 0.640 [")
    assert "leaks 0.750 [" in second


def test_a_board_of_controls_alone_says_so():
    assert answer(entries(make_record("plain", utility=0.64, leakage=0.75))).startswith("No defence is ranked here yet. Plain")
    assert answer([]) == "No defence is ranked here yet."
