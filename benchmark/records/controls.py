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
    return difference(run, public, "utility")


def difference(run: Run, reference: Run | None, axis: Literal["utility", "leakage"]) -> Gain:
    """A record's utility or leakage less that of another record of the same people, paired replicate by replicate."""
    if reference is None or reference.headline is None or run.headline is None:
        return NO_GAIN
    own, other = getattr(run.headline, axis), getattr(reference.headline, axis)
    if own.value is None or other.value is None:
        return NO_GAIN
    value = own.value - other.value
    replicates = [getattr(r, f"{axis}_replicates") for r in (run, reference)]
    size = min(map(len, replicates))
    paired = replicates[0][:size] - replicates[1][:size]
    if size == 0 or not np.isfinite(paired).all():
        return Gain(value, n=own.n)
    low, high = np.quantile(paired, [TAIL, 1 - TAIL])
    return Gain(value, float(low), float(high), own.n)


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
