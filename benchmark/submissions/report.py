"""What the checks of a submission found; light to import, so that a server can read it without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from benchmark.interfaces import Result
from benchmark.submissions.card import Card
from benchmark.submissions.problems import Problem


class Flag(Result):
    """Something a reader should know before trusting an entry."""

    name: str
    severity: Literal["info", "warning", "error"]
    reason: str


class Report(BaseModel):
    """Everything that was found about a submission: problems, for which it is refused, and flags, which readers are shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    submission_id: str | None = None
    weights_sha256: str | None = None
    card: Card | None = None
    problems: tuple[Problem, ...] = ()
    flags: tuple[Flag, ...] = ()
    probes: str = ""  # what the backbone makes of fixed probes; see benchmark.submissions.probes
    cost: float | None = None  # of training it again, in units of the track's own backbone and schedule

    @property
    def ok(self) -> bool:
        """True where nothing stands in the way of an evaluation."""
        return not self.problems
