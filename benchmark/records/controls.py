"""Controls: what an entry is compared with before anything is said about its privacy.

``undefended`` trains on the private photos as they come, ``public_only`` never sees one.  Where the first recognises no better
than the second, the private photos are worth nothing on that track, and a defence has nothing to protect at no loss: the
*value gate* fails, and nothing is ranked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmark.records.results import interval_text
from benchmark.records.runs import Run, Scope

PUBLIC_ONLY, UNDEFENDED = "public_only", "undefended"
TAIL = 0.025


@dataclass(frozen=True)
class Gain:
    """Utility over that of ``public_only``, with the interval of the paired difference; None: not measured."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0

    @property
    def bought_nothing(self) -> bool:
        """Significantly below ``public_only``: the private photos made recognition no better, training on them worse."""
        return self.high is not None and self.high < 0


NO_GAIN = Gain()


@dataclass(frozen=True)
class ValueGate:
    """Whether the private photos of a track are worth anything; ``passed`` is None where a control is missing."""

    passed: bool | None
    gain: Gain = NO_GAIN
    reason: str = ""


def is_control(run: Run, name: str) -> bool:
    """Whether a record is of the control of that name."""
    return run.defense_names == (name,)


def control(runs: Iterable[Run], name: str) -> Run | None:
    """The complete verified record of a control; of several, which may start from other weights, that of the best utility."""
    trained = [r for r in runs if is_control(r, name) and r.board != "weights" and r.complete and _utility(r) is not None]
    found = [r for r in trained if r.board == "verified"] or trained  # this machine's own, where none was published
    return max(found, key=lambda r: (_utility(r), r.created), default=None)


def _utility(run: Run) -> float | None:
    return run.headline.utility.value if run.headline else None


def gain(run: Run, public: Run | None) -> Gain:
    """What a record's utility gains over that of ``public_only``, paired over people and targets."""
    return differences([run], public, "utility")[0]


def differences(runs: Sequence[Run], reference: Run | None, axis: Literal["utility", "leakage"]) -> list[Gain]:
    """Each record's utility or leakage less that of another record of the same people, paired replicate by replicate."""
    if reference is None or reference.headline is None:
        return [NO_GAIN] * len(runs)
    own = [getattr(run.headline, axis) if run.headline else None for run in runs]
    value = getattr(reference.headline, axis).value
    ends = _paired_ends([getattr(run, f"{axis}_replicates") for run in runs], getattr(reference, f"{axis}_replicates"))
    found = []
    for metric, (low, high) in zip(own, ends, strict=True):
        if metric is None or metric.value is None or value is None:
            found.append(NO_GAIN)
        else:
            found.append(Gain(metric.value - value, low, high, metric.n))
    return found


def _paired_ends(replicates: Sequence[np.ndarray], others: np.ndarray) -> list[tuple[float | None, float | None]]:
    """The 95 % interval of the differences of each row (B,) from ``others`` (B',); None where there are none to be had."""
    ends: list[tuple[float | None, float | None]] = [(None, None)] * len(replicates)
    by_size: dict[int, list[int]] = {}
    for number, row in enumerate(replicates):
        by_size.setdefault(min(len(row), len(others)), []).append(number)
    for size, numbers in by_size.items():
        paired = np.stack([replicates[number][:size] for number in numbers]) - others[:size]
        usable = np.flatnonzero(np.isfinite(paired).all(axis=1))
        if size and len(usable):
            for i, (low, high) in zip(usable, np.quantile(paired[usable], [TAIL, 1 - TAIL], axis=1).T, strict=True):
                ends[numbers[i]] = (float(low), float(high))
    return ends


def value_gate(runs: Sequence[Run]) -> ValueGate:
    """TAR@FAR=1e-3 of the best undefended control less that of ``public_only`` must have a lower bound above 0.

    Args:
        runs: the records of one track, protocol version and split.
    """
    public, private = control(runs, PUBLIC_ONLY), control(runs, UNDEFENDED)
    missing = [name for name, run in ((PUBLIC_ONLY, public), (UNDEFENDED, private)) if run is None]
    if private is None or public is None:
        return ValueGate(None, reason=f"not checked: no complete verified record of {' and of '.join(missing)} here")
    found = gain(private, public)
    if found.low is not None and found.low > 0:
        return ValueGate(True, found)
    text = interval_text(found.value, found.low, found.high)
    return ValueGate(
        False, found, f"the value gate failed: training on private photos gains {text} over public ones alone, not above 0"
    )


def siblings(scope: Scope) -> tuple[str, ...]:
    """What scopes share that are judged on the same people: their controls serve each other."""
    return (scope.track, scope.protocol_version, scope.data_digest, scope.split_digest)
