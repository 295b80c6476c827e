"""What a GPU needs that a processor does not."""

from __future__ import annotations

import torch


def wait_for(device: torch.device | str) -> None:
    """Returns when the device has done all that was asked of it, so that a clock read next has the whole; a CPU always has."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
