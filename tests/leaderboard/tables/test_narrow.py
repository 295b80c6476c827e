"""The phone's table: names in full, numbers with their intervals, links, and nothing of a submitter's as markup."""

from __future__ import annotations

import re

from record_factory import make_record

from leaderboard.board.library import build
from leaderboard.charts.palette import LINK
from leaderboard.tables import narrow

LONG = "early stopping at 20% of the epochs + BatchNorm folding on public faces"


def board():
    records = [
        make_record("undefended", utility=0.85, leakage=0.75),
        make_record(LONG, "early_stopping", {"share": 0.2}, utility=0.6, leakage=0.3),
        make_record("<script>alert(1)</script>", "dropout", {"x": 1}, complete=False),
    ]
    return build(records)


def test_rows_hold_rank_whole_name_and_numbers_with_intervals():
    made = board()
    frame = made.frame[made.frame["rank"].notna()]
    text = narrow.table(frame, "ranked entries")
    assert LONG in text
    for row in frame.itertuples():
        assert f'href="submission?entry={row.key}"' in text
        assert f"{row.utility:.3f}<small>{row.utility_low:.3f} – {row.utility_high:.3f}</small>" in text
        assert f"{row.leakage:.3f}<small>{row.leakage_low:.3f} – {row.leakage_high:.3f}</small>" in text


def test_reasons_stand_below_unranked_names_which_stay_text():
    made = board()
    frame = made.frame[made.frame["rank"].isna()]
    text = narrow.table(frame, "unranked entries", "dark")
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    assert "incomplete" in text
    assert LINK["dark"] in text
    assert not re.search(r"[↑↓#]</th>.*#</th>", text)
