"""What steps of each kind took here before: what estimates of the time left are made of."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark.runtime.atomic import write_text

_MEMORY = 20  # runs that a mean goes back, about


class Durations:
    """Mean seconds a kind of step, in a JSON file; those measured in this run come before those remembered.

    Args:
        path: None keeps them in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._before: dict[str, tuple[int, float]] = {}
        self._now: dict[str, tuple[int, float]] = {}
        if path is not None and path.exists():
            try:
                self._before = {kind: (int(n), float(mean)) for kind, (n, mean) in json.loads(path.read_text()).items()}
            except (ValueError, TypeError, AttributeError):
                self._before = {}  # a damaged file costs estimates only

    def add(self, kind: str, seconds: float) -> None:
        """Takes note of one finished step."""
        count, mean = self._now.get(kind, (0, 0.0))
        self._now[kind] = (count + 1, mean + (seconds - mean) / (count + 1))

    def known(self, kind: str) -> float | None:
        """Mean seconds of a kind; None where none was ever measured here."""
        found = self._now.get(kind) or self._before.get(kind)
        return found[1] if found else None

    def expected(self, kind: str, guess: float | None = None) -> float:
        """Mean seconds of a kind; where it was never measured ``guess``, or the mean over the kinds that were, or 1."""
        own = self.known(kind)
        if own is not None:
            return own
        if guess is not None:
            return guess
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
