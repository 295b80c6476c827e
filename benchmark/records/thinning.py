"""Records made smaller for shipping: their curves are drawn with fewer points; every number stays as it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.interfaces import Contrast
from benchmark.metrics.roc import log_spaced
from benchmark.records.record import Record
from benchmark.records.results import AttackResult

POINTS = 60  # of a curve
DIGITS = 5  # significant, of a point's coordinates
Curve = Sequence[tuple[float, float]]


def thinned(record: Record, points: int = POINTS) -> Record:
    """The record with at most ``points`` log-spaced points on each ROC curve, rounded to :data:`DIGITS` significant digits.

    The headline's attack and the strongest headless attack on each contrast, whose curves pages draw first, keep all their
    points.  Metrics, intervals, replicates and the hashes of the scores are untouched, and with them
    :attr:`Record.fingerprint`: curves are drawings of scores that are named by their hash.
    """
    whole = _drawn_first(record)
    return record.model_copy(update={"membership": tuple(_attack(a, whole, points) for a in record.membership)})


def _drawn_first(record: Record) -> set[str]:
    """Labels of the attacks whose curves stay whole."""
    labels = {record.headline.leakage_attack} if record.headline else set()
    return labels | {attack.label for contrast in Contrast if (attack := record.strongest(contrast))}


def _attack(attack: AttackResult, whole: set[str], points: int) -> AttackResult:
    kept = 10**6 if attack.label in whole else points
    contrasts = {c: r.model_copy(update={"roc": thin(r.roc, kept)}) for c, r in attack.contrasts.items()}
    return attack.model_copy(update={"contrasts": contrasts})


def thin(curve: Curve, points: int = POINTS) -> tuple[tuple[float, float], ...]:
    """At most ``points`` corners (FPR, TPR) of a curve of rising FPR: the best at FPR 0 and within log-spaced FPRs, rounded."""
    if len(curve) > points:
        fpr = np.array([x for x, _ in curve])
        curve = [curve[i] for i in log_spaced(fpr, fpr[fpr > 0][0], points)]
    return tuple((_rounded(x), _rounded(y)) for x, y in curve)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
