"""What the columns of the board read of one entry."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from benchmark.interfaces import Contrast
from benchmark.records.ranking import RankedEntry, envelope
from benchmark.records.results import Headline
from benchmark.records.runs import Run

SMOKE = "smoke run: too small to conclude from"
Ends = tuple[float | None, float | None, float | None]  # value, low, high
NOTHING: Ends = (None, None, None)


class Facts:
    """One entry, and what several columns need of its runs, computed once."""

    def __init__(self, entry: RankedEntry) -> None:
        self.entry = entry
        self.runs = entry.runs
        self.scope = entry.scope
        self.first: Run = entry.runs[0]

    @cached_property
    def headline(self) -> Headline | None:
        """That of the first run that has one."""
        return next((run.headline for run in self.runs if run.headline), None)

    @cached_property
    def sample(self) -> tuple[str, float | None, float | None, float | None]:
        """See :func:`strongest`."""
        return strongest(self.runs, Contrast.SAMPLE)

    @cached_property
    def identity(self) -> tuple[str, float | None, float | None, float | None]:
        """See :func:`strongest`."""
        return strongest(self.runs, Contrast.IDENTITY)

    @cached_property
    def inversion(self) -> Ends:
        """Mean over seeds, and the envelope of their intervals; nothing unless inversion was run on every seed."""
        found = [run.inversion for run in self.runs if run.inversion is not None and run.inversion.value is not None]
        if not found or len(found) < len(self.runs):
            return NOTHING
        value = float(np.mean([metric.value for metric in found]))
        return (value, *envelope([(metric.low, metric.high) for metric in found]))

    @property
    def inversion_unranked(self) -> list[str]:
        """Why it is shown and not ranked; nothing where it was not measured."""
        if self.inversion == NOTHING:
            return []
        return list(dict.fromkeys(reason for run in self.runs for reason in run.inversion_unranked))

    @property
    def tpr_at_1(self) -> Ends:
        """Mean over seeds, and the envelope of their intervals."""
        found = [run.tpr_at_1 for run in self.runs if run.headline]
        return (mean([t and t[0] for t in found]), *envelope([t[1:] if t else (None, None) for t in found]))

    @property
    def flags(self) -> list[str]:
        """What to know before trusting the entry."""
        texts = [SMOKE] if self.smoke else []
        texts += [f"{flag.name} ({flag.severity}): {flag.reason}" for run in self.runs for flag in run.flags]
        return list(dict.fromkeys([*texts, *self.entry.left_out]))

    @property
    def smoke(self) -> bool:
        """Whether any of its runs was a smoke run."""
        return any(run.smoke for run in self.runs)


def mean(values: Sequence[float | None]) -> float | None:
    """Mean, or None where one is missing."""
    numbers = [float(value) for value in values if value is not None]
    return float(np.mean(numbers)) if values and len(numbers) == len(values) else None


def strongest(runs: Sequence[Run], contrast: Contrast) -> tuple[str, float | None, float | None, float | None]:
    """The headless attack of the largest AUC on a contrast: its label, the mean over seeds, the envelope of their intervals.

    Attacks that need the head are references and do not count; nor do attacks that were not run on every seed.
    """
    measured = [run.aucs(contrast) for run in runs]
    best: tuple[str, float | None, float | None, float | None] = ("", None, None, None)
    for label in dict.fromkeys(a.label for r in runs for a in r.attacks if a.headless):
        found = [values[label] for values in measured if label in values]
        if len(found) < len(runs):
            continue
        auc = sum(value for value, _, _ in found) / len(found)
        if best[1] is None or auc > best[1]:
            best = (label, auc, *envelope([(low, high) for _, low, high in found]))
    return best
