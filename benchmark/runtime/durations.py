"""What steps of each kind took here before: what estimates of the time left are made of."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark.runtime.atomic import write_text

_MEMORY = 20  # runs that a mean goes back, about
_EVEN = 1.0  # seconds as foreseen, to begin with: a few short steps say little


class Durations:
    """Mean seconds a kind of step, in a JSON file; those measured in this run come before those remembered.

    What was not measured in this run is expected to take as much longer than foreseen, by memory or guess, as what was: the
    machine is another one, or busier, than it was.

    Args:
        path: None keeps them in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._before: dict[str, tuple[int, float]] = {}
        self._now: dict[str, tuple[int, float]] = {}
        self._taken, self._foreseen = _EVEN, _EVEN  # seconds, of this run's steps that were foreseen
        if path is not None and path.exists():
            try:
                self._before = {kind: (int(n), float(mean)) for kind, (n, mean) in json.loads(path.read_text()).items()}
            except (ValueError, TypeError, AttributeError):
                self._before = {}  # a damaged file costs estimates only

    def add(self, kind: str, seconds: float, guess: float | None = None) -> None:
        """Takes note of one finished step, which ``guess`` seconds had been foreseen for where its kind was not known."""
        foreseen = self._before[kind][1] if kind in self._before else guess
        if foreseen is not None:
            self._taken, self._foreseen = self._taken + seconds, self._foreseen + foreseen
        count, mean = self._now.get(kind, (0, 0.0))
        self._now[kind] = (count + 1, mean + (seconds - mean) / (count + 1))

    def known(self, kind: str) -> float | None:
        """Mean seconds of a kind; None where none was ever measured here."""
        if kind in self._now:
            return self._now[kind][1]
        return self._before[kind][1] * self._pace if kind in self._before else None

    @property
    def _pace(self) -> float:
        """Seconds taken for each that was foreseen."""
        return self._taken / self._foreseen

    def expected(self, kind: str, guess: float | None = None) -> float:
        """Mean seconds of a kind; where it was never measured ``guess``, or the mean over the kinds that were, or 1."""
        own = self.known(kind)
        if own is not None:
            return own
        if guess is not None:
            return guess * self._pace
        others = [mean for _, mean in {**self._before, **self._now}.values()]
        return sum(others) / len(others) if others else 1.0

    def save(self) -> None:
        """Adds what this run measured to the file."""
        if self.path is None or not self._now:
            return
        merged = Durations(self.path)._before  # another run may have written meanwhile
        for kind, (count, mean) in self._now.items():
            before, old = merged.get(kind, (0, 0.0))
            before = min(before, _MEMORY)
            merged[kind] = (before + count, (old * before + mean * count) / (before + count))
        write_text(self.path, json.dumps(merged, indent=0))
        self._before, self._now = merged, {}
        self._taken, self._foreseen = _EVEN, _EVEN
