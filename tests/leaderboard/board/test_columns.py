"""A column of the board is one entry of its table: file, page, search, sorting and ``rank`` derive from it."""

from __future__ import annotations

import pytest
from record_factory import make_record

from leaderboard.board import columns, frame
from leaderboard.board.column import Column, Shown, Sorting
from leaderboard.board.facts import Facts
from leaderboard.board.library import build
from leaderboard.tables import columns as page

ENTRY = next(iter(build([make_record(utility=0.6, team="Blue")]).entries.values()))
BY_NAME = {column.name: column for column in columns.TABLE}


def test_names_in_files_and_on_the_page_are_unique():
    names = [name for column in columns.TABLE for name in column.parts]
    shown = [shown.name or column.name for column in columns.TABLE for shown in column.shown]
    assert len(set(names)) == len(names)
    assert len(set(shown)) == len(shown) == len(page.CONFIG)
    assert list(frame.frame_of([ENTRY])) == names == list(columns.COLUMNS)


def test_a_counted_column_is_five_in_files():
    cells = BY_NAME["utility"].cells([Facts(ENTRY)])
    assert cells == {
        "utility": [0.6],
        "utility_low": [ENTRY.utility.low],
        "utility_high": [ENTRY.utility.high],
        "utility_n": [ENTRY.utility.n],
        "utility_unit": ["people"],
    }


def test_a_value_of_another_length_is_refused():
    with pytest.raises(ValueError, match="zip"):
        Column("pair", "Two ends are missing.", lambda f: (1.0,), measured=True).cells([Facts(ENTRY)])


def test_a_new_entry_of_the_table_reaches_the_file_and_the_search(monkeypatch):
    added = Column("letters", "Letters of the team's name.", lambda f: f.first.team, searched=True, shown=(Shown("Letters"),),
                   sorting=Sorting("Letters", "letters"))  # fmt: skip
    monkeypatch.setattr(frame, "TABLE", (*columns.TABLE, added))
    monkeypatch.setattr(columns, "TABLE", (*columns.TABLE, added))
    monkeypatch.setattr(frame, "COLUMNS", {**columns.COLUMNS, **added.parts})
    made = frame.frame_of([ENTRY])
    assert made["letters"].tolist() == ["Blue"]
    assert frame.haystack(made)[0].endswith("blue")


def test_every_order_can_be_sorted_by():
    for name, (column, sorting) in columns.SORTS.items():
        assert sorting.name == name
        assert column in columns.COLUMNS
