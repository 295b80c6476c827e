"""What the attacks and defences of this project are: ``methods.json``, written by ``faceveil list plugins --json``.

The pages need no torch, and so cannot ask the plug-ins themselves.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "methods.json"
KINDS = {"defenses": "Defence", "membership": "Membership attack", "inversion": "Inversion attack"}


@cache
def methods() -> dict[str, dict[str, Any]]:
    """Plug-ins by ``kind/name``, such as ``defenses/dp_sgd``."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    return {f"{kind}/{row['name']}": {**row, "kind": kind} for kind in KINDS for row in content[kind]}
