"""Finished pieces of an evaluation: JSON files that are complete or absent, each with the seconds that it took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.runtime.atomic import write_text


class Pieces:
    """What an evaluation has finished, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, name: str) -> bool:
        """True where the piece is finished."""
        return (self.folder / f"{name}.json").exists()

    def read(self, name: str) -> Any:
        """A finished piece."""
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))["value"]

    def timed(self, name: str, work: Callable[[], Any]) -> None:
        """Does work without a result of its own, and keeps what it took the first time."""
        started = time.perf_counter()
        work()
        if not self.has(name):
            write_text(self.folder / f"{name}.json", json.dumps({"value": None, "seconds": time.perf_counter() - started}))

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        """JSON data, computed once and read ever after."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            started = time.perf_counter()
            value = compute()
            write_text(path, json.dumps({"value": value, "seconds": time.perf_counter() - started}))
        return self.read(name)

    def seconds(self) -> float:
        """What all pieces took together, in whichever runs they were computed."""
        return sum(json.loads(p.read_text(encoding="utf-8"))["seconds"] for p in sorted(self.folder.glob("*.json")))
