"""The answer is made from the entries, and says what they say."""

from __future__ import annotations

from record_factory import make_record

from benchmark.records.ranking import rank
from leaderboard.board.answer import answer, markup


def answers(*records):
    return dict(answer(rank(records)))


UNDEFENDED = {"name": "undefended", "utility": 0.87, "leakage": 0.75}


def test_the_best_defence_its_cost_the_attack_and_the_trust():
    found = answers(
        make_record(**UNDEFENDED),
        make_record("dp", "dp_sgd", {"epsilon": 8}, utility=0.64, leakage=0.01),
        make_record("weak", "dropout", utility=0.5, leakage=0.7),
    )
    assert list(found) == ["Best defence", "Cost", "Against", "Trust"]
    assert found["Best defence"].startswith(
        "Dp: nothing was found (up to 0.05 is not ruled out), where undefended leaks 0.750 ["
    )
    assert "-0.740 [" in found["Best defence"]
    assert "It recognises 0.640 [" in found["Cost"]
    assert "-0.230 [" in found["Cost"]
    assert found["Against"].startswith("The strongest of 3 attacks that need no head: regrown_head, telling trained photos")
    assert found["Trust"].startswith("Re-trained by the evaluator; 1 backbone an entry, 200 people attacked, 150 verified")


def test_a_defence_that_recognises_less_than_public_faces_alone_does_not_pay():
    found = answers(
        make_record(**UNDEFENDED),
        make_record("public", "public_only", utility=0.6, leakage=0.0),
        make_record("dp", "dp_sgd", {"epsilon": 8}, utility=0.3, leakage=0.1),
    )
    assert "Public faces alone recognise 0.600" in found["Cost"]
    assert found["Cost"].endswith("so this defence does not pay here.")


def test_a_defence_that_leaks_as_much_wins_nothing():
    found = answers(make_record(**UNDEFENDED), make_record("fold", "bn_folding", utility=0.87, leakage=0.75))
    assert found["Best defence"].startswith("No defence leaks significantly less than none at all. Undefended recognises 0.870")


def test_a_board_of_controls_alone_says_so():
    found = answers(make_record(**UNDEFENDED))
    assert found["Best defence"].startswith("No defence is ranked here yet. Undefended recognises 0.870")
    assert answers() == {"Best defence": "No defence is ranked here yet."}


def test_names_of_submitters_stay_text():
    text = markup([("Best defence", "<img src=x onerror=alert(1)> & more")])
    assert "<img" not in text
    assert "<dt>Best defence</dt><dd>&lt;img src=x onerror=alert(1)&gt; &amp; more</dd>" in text
