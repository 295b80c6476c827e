"""Where a training stands within an epoch, so that it resumes as if it had never stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark.training.scale import Group


@dataclass(frozen=True)
class MiddleOfEpoch:
    """``batches`` done; ``sums`` (processes, 2) of loss and correct answers of each one's photos; states of its generators."""

    batches: int
    sums: Tensor
    draws: list[Tensor]
    gpu_draws: list[Tensor]  # empty tensors without a GPU

    @staticmethod
    def now(group: Group, device: torch.device, batches: int, sums: Tensor) -> MiddleOfEpoch:
        """The state at this moment, of all processes."""
        gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.zeros(0, dtype=torch.uint8)
        gathered = group.gather((sums.cpu(), torch.get_rng_state(), gpu))
        return MiddleOfEpoch(batches, torch.stack([g[0] for g in gathered]), [g[1] for g in gathered], [g[2] for g in gathered])

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"batches": self.batches, "sums": self.sums, "draws": self.draws, "gpu_draws": self.gpu_draws}

    def restore_draws(self, rank: int, device: torch.device) -> None:
        """Sets the generators of a process back."""
        torch.set_rng_state(self.draws[rank].cpu())
        if device.type == "cuda" and len(self.gpu_draws[rank]):
            torch.cuda.set_rng_state(self.gpu_draws[rank].cpu(), device)
