"""What one column of the board is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from leaderboard.board.facts import Facts


@dataclass(frozen=True)
class Shown:
    """How a column stands in the page's table.

    ``kind``: a ``number`` in ``format``; ``text`` as it is; a signed ``change`` with its interval; the ``interval`` with n;
    ``mark``: the text ``format`` where it is true; and ``place``, ``link``, ``date``, ``flags`` as their names say.

    Args:
        name: of the column in the page's table; default that of the column itself.
        lead: stands before those that do not lead.
        fixed: cannot be hidden; ``hidden``: is shown only on request.
        may_be_empty: left out where it says nothing of any entry.
    """

    label: str
    kind: Literal["number", "text", "place", "link", "date", "mark", "change", "interval", "flags"] = "text"
    name: str = ""
    width: int | Literal["medium", "large"] | None = None
    format: str = "%.3f"
    lead: bool = False
    fixed: bool = False
    pinned: bool = False
    hidden: bool = False
    may_be_empty: bool = False


@dataclass(frozen=True)
class Sorting:
    """An order that the reader can choose: its name in the menu, and in words."""

    name: str
    words: str
    ascending: bool = True


@dataclass(frozen=True)
class Column:
    """One column: what it is called in files, what it means, and its value of an entry.

    Args:
        value: a plain value; of a ``measured`` column (value, low, high), of a ``counted`` one (value, low, high, n, unit).
        over: what the interval is taken over, said where its ends are explained.
        shown: where it stands in the page's table, if it does.
        searched: the search looks through its text.
    """

    name: str
    help: str
    value: Callable[[Facts], Any]
    measured: bool = False
    counted: bool = False
    over: str = ""
    shown: tuple[Shown, ...] = ()
    sorting: Sorting | None = None
    searched: bool = False

    @cached_property
    def parts(self) -> dict[str, str]:
        """Its columns in files, each with its explanation."""
        parts = {self.name: self.help}
        if self.measured or self.counted:
            parts[f"{self.name}_low"] = f"Lower end of the 95 % interval of {self.name}{self.over}."
            parts[f"{self.name}_high"] = f"Upper end of the 95 % interval of {self.name}{self.over}."
        if self.counted:
            parts[f"{self.name}_n"] = f"How many were counted for {self.name}, in the unit of {self.name}_unit."
            parts[f"{self.name}_unit"] = f"Unit of {self.name}_n."
        return parts

    def cells(self, facts: Sequence[Facts]) -> dict[str, list[Any]]:
        """Its values of some entries by their names in files."""
        values = [self.value(entry) for entry in facts]
        if len(self.parts) == 1 or not values:
            return dict.fromkeys(self.parts, values)
        return {name: list(part) for name, part in zip(self.parts, zip(*values, strict=True), strict=True)}
