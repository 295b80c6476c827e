"""Random views of the photos in training: flips, shifted crops, erased rectangles, mixtures."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from benchmark.interfaces import AttackSpec, Batch, Defense, ForwardPass, Reference, TrainerProtocol
from defenses.shared.adaptive import against_training
from defenses.shared.augmentation import draw_views


class Augmentation(Defense):
    """No photo is shown twice alike, so that less of each is remembered.

    With ``mixup`` photos are added in pairs, x = l x_i + (1 - l) x_j with l from Beta(mixup, mixup), and so are their losses
    (arXiv 1710.09412): that couples the photos of a batch.  A view that is drawn depends on seed, epoch and photo alone.
    """

    name: ClassVar[str] = "augmentation"
    title: ClassVar[str] = "augmentation"
    summary: ClassVar[str] = "Flips, shifted crops, erased rectangles and mixtures of photos in training."
    reference: ClassVar[Reference] = Reference(
        title="Random Erasing Data Augmentation; mixup: Beyond Empirical Risk Minimization",
        where="AAAI 2020; ICLR 2018",
        arxiv="1708.04896, 1710.09412",
    )
    family: ClassVar[str] = "training"
    couples_samples: ClassVar[bool] = True  # mixup does; the loop of DP would not apply the rest either

    flip: bool = Field(True, description="mirror every second photo")
    crop: float = Field(0.1, ge=0, le=0.5, description="largest shift, as a share of height and width")
    erase: float = Field(0.25, ge=0, le=1, description="probability of an erased rectangle")
    mixup: float = Field(0.0, ge=0, le=10, description="parameter of the Beta distribution of mixtures; 0: none")

    def display(self) -> str:
        parts = {"flips": self.flip, "crops": self.crop, "erasing": self.erase, "mixup": self.mixup}
        return ", ".join(name for name, used in parts.items() if used) or "no augmentation"

    def transform_batch(self, batch: Batch, trainer: TrainerProtocol) -> Batch:
        rng = np.random.default_rng([trainer.seed, 9, batch.epoch])
        size = (batch.inputs.shape[-2], batch.inputs.shape[-1])
        views = draw_views(len(trainer.photos), size, rng, flip=self.flip, crop=self.crop, erase=self.erase)
        inputs = views.take(batch.index).apply(batch.inputs)
        notes = batch.notes
        if self.mixup:
            draw = np.random.default_rng([trainer.seed, 10, batch.step])
            partner = torch.from_numpy(draw.permutation(len(inputs))).to(inputs.device)
            share = float(draw.beta(self.mixup, self.mixup))
            inputs = share * inputs + (1 - share) * inputs[partner]
            notes = {**notes, self.name: (partner, share)}
        return replace(batch, inputs=inputs.contiguous(memory_format=torch.channels_last), notes=notes)

    def loss(self, loss: Tensor, batch: ForwardPass, trainer: TrainerProtocol) -> Tensor:
        if self.name not in batch.notes:
            return loss
        partner, share = batch.notes[self.name]
        others = batch.labels[partner]
        out: Tensor = share * loss + (1 - share) * F.cross_entropy(
            trainer.head(batch.embeddings, others), others, reduction="none"
        )
        return out

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Its blind spot: a memory that is spread over views is read by averaging over the views that it declares."""
        views = {"views": "flip_shift"} if self.crop else {}
        averaged = (
            (AttackSpec(name="view_lira", settings=views), AttackSpec(name="pair_stack", settings={"views": "flip"}))
            if self.flip
            else ()
        )
        return against_training(AttackSpec(name="encoder_mi"), *averaged, AttackSpec(name="view_stack"))
