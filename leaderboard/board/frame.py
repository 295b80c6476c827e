"""Entries as a table: one row an entry, every column explained."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchmark.records.ranking import RankedEntry
from leaderboard.board.columns import COLUMNS, TABLE
from leaderboard.board.facts import Facts


def frame_of(entries: Sequence[RankedEntry]) -> pd.DataFrame:
    """The columns of :data:`COLUMNS`, one row an entry, in the order given."""
    facts = [Facts(entry) for entry in entries]
    cells = {name: values for column in TABLE for name, values in column.cells(facts).items()}
    frame = pd.DataFrame(cells, columns=list(COLUMNS))
    frame["rank"] = frame["rank"].astype("Int64")
    return frame


def haystack(frame: pd.DataFrame) -> pd.Series:
    """What the search looks through: the texts of each row in one, in small letters."""
    columns = [column.name for column in TABLE if column.searched]
    return pd.Series(
        [" ".join(texts).casefold() for texts in frame[columns].astype(str).to_numpy()], index=frame.index, dtype=str
    )


def rank_text(rank: int | None, tied: bool) -> str:
    """``3``, or ``3 =`` where the rank is shared; a dash where there is none."""
    if rank is None or pd.isna(rank):
        return "–"
    return f"{rank} =" if tied else str(rank)
