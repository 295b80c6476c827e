"""Training of a backbone to embed photos as teachers do, by cosine: the second half of every distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import PrivateAttr
from torch import Tensor, nn

from benchmark.interfaces import Defense, ForwardPass, Photos, TrainerProtocol
from benchmark.models.inputs import to_input
from benchmark.protocol.track import InputSpec


@torch.inference_mode()
def embed_photos(backbone: nn.Module, photos: Photos, input: InputSpec, device: torch.device, batch: int = 256) -> Tensor:
    """Unit embeddings (N, D) of photos, in evaluation mode; the module is left as it was."""
    training = backbone.training
    backbone.eval()
    parts = []
    for start in range(0, len(photos), batch):
        index = np.arange(start, min(start + batch, len(photos)))
        images = to_input(photos.load(index).to(device), input).contiguous(memory_format=torch.channels_last)
        parts.append(F.normalize(backbone(images).float()))
    backbone.train(training)
    return torch.cat(parts).clone()


class Imitation(Defense):
    """The plain loop with another objective: 1 - cos(student, teacher), averaged over the teachers of a photo.

    Where there are several teachers, their spaces are not the same: each has a linear map of its own behind the student,
    trained along and thrown away.
    """

    name: ClassVar[str] = "imitation"
    family: ClassVar[str] = "training"

    _targets: Tensor = PrivateAttr()  # (N, teachers, D) unit embeddings
    _asked: Tensor = PrivateAttr()  # (N, teachers) bool: which teachers a photo is compared with

    @staticmethod
    def of(targets: Tensor, asked: Tensor | None = None) -> Imitation:
        """Imitation of embeddings (N, teachers, D) of the photos that the trainer is given."""
        made = Imitation()
        made._targets = targets
        made._asked = torch.ones(targets.shape[:2], dtype=torch.bool) if asked is None else asked
        return made

    def modules(self, trainer: TrainerProtocol) -> Mapping[str, nn.Module]:
        teachers, size = self._targets.shape[1:]
        if teachers == 1:
            return {}
        return {self.name: nn.ModuleList(nn.Linear(trainer.embedding_size, size, bias=False) for _ in range(teachers))}

    def loss(self, loss: Tensor, batch: ForwardPass, trainer: TrainerProtocol) -> Tensor:  # noqa: ARG002
        maps: Any = trainer.extra[self.name] if self.name in trainer.extra else [nn.Identity()]
        targets, asked = self._targets[batch.index].to(batch.embeddings.device), self._asked[batch.index]
        asked = asked.to(targets.device, targets.dtype)
        guesses = torch.stack([F.normalize(m(batch.embeddings.float())) for m in maps], 1)
        return ((1 - (guesses * targets).sum(2)) * asked).sum(1) / asked.sum(1)
