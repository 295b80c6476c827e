"""Finished pieces of an evaluation: JSON files that are complete or absent, each with the seconds that it took."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.interfaces import content_hash
from benchmark.runtime.atomic import write_text
from benchmark.runtime.checked import discard


class Pieces:
    """What an evaluation has finished, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, name: str) -> bool:
        """True where the piece is finished."""
        return self._content(name) is not None

    def read(self, name: str) -> Any:
        """A finished piece."""
        content = self._content(name)
        if content is None:
            raise FileNotFoundError(errno.ENOENT, "no such piece", str(self.folder / f"{name}.json"))
        return content["value"]

    def _content(self, name: str) -> dict[str, Any] | None:
        """A finished piece with its seconds; None: there is none, or it was damaged, which is logged, and it is removed."""
        path = self.folder / f"{name}.json"
        try:
            content = json.loads(path.read_bytes())
            whole = content.pop("sha256", None) in (None, content_hash(content, length=64))
            content["value"], content["seconds"] = content["value"], float(content["seconds"])
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            whole = False
        if not whole:
            discard(path, "its content does not fit its checksum")
            return None
        return dict(content)

    def keep(self, name: str, value: Any, seconds: float) -> None:
        """Keeps a piece that was made elsewhere, with the seconds that it took."""
        content = json.loads(json.dumps({"value": value, "seconds": seconds}))
        write_text(self.folder / f"{name}.json", json.dumps({**content, "sha256": content_hash(content, length=64)}))

    def forget(self, name: str) -> None:
        """Removes a piece, so that it is computed again."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def find(self, name: str) -> Any:
        """A finished piece; None where there is none."""
        content = self._content(name)
        return None if content is None else content["value"]

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        """JSON data, computed once and read ever after."""
        if not self.has(name):
            started = time.perf_counter()
            value = compute()
            self.keep(name, value, time.perf_counter() - started)
        return self.read(name)

    def seconds(self) -> float:
        """What all pieces took together, in whichever runs they were computed."""
        contents = [self._content(path.stem) for path in sorted(self.folder.glob("*.json"))]
        return float(sum(content["seconds"] for content in contents if content is not None))
