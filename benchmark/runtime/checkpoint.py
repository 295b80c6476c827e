"""The checkpoint of a training on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmark.runtime.checked import writing


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Writes it with its checksum, all or nothing.

    Raises:
        OSError: names the file, also where the last bytes do not fit on the disk: torch 2.8, given a name instead of an open
            file, says nothing then.
    """
    with writing(path) as temporary, temporary.open("wb") as file:
        torch.save(state, file)
