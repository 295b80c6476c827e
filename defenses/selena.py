"""SELENA: every photo is embedded by networks that did not see it, and one backbone learns that."""

from __future__ import annotations

import copy
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn

from benchmark.interfaces import AttackSpec, Defense, Photos, Reference, TrainerProtocol
from benchmark.runtime.seeding import derived_seed
from benchmark.training.loop import Trainer as Loop
from defenses.shared.adaptive import against_training
from defenses.shared.imitation import Imitation, embed_photos


class SELENA(Defense):
    """Split-AI with distillation, for embeddings.

    ``models`` networks are trained; every photo is left out by ``left_out`` of them, drawn at random.  A photo's targets are
    its embeddings under those that left it out.  One backbone learns them by cosine, behind one linear map per network,
    because their spaces differ; the maps are thrown away.  With ``unit="person"`` people are left out whole.
    As published: 25 and 10, at 25 trainings; the default is a fifth of it.
    """

    name: ClassVar[str] = "selena"
    title: ClassVar[str] = "SELENA"
    summary: ClassVar[str] = "Distils what networks that did not see a photo make of it (split-AI, self-distillation)."
    reference: ClassVar[Reference] = Reference(
        title="Mitigating Membership Inference Attacks by Self-Distillation Through a Novel Ensemble Architecture",
        where="USENIX Security 2022",
        arxiv="2110.08324",
    )
    family: ClassVar[str] = "training"
    honours: ClassVar[frozenset[str]] = frozenset({"configure"})  # teachers and student have loops of their own

    models: int = Field(5, ge=2, le=100, description="K: networks trained")
    left_out: int = Field(2, ge=1, le=64, description="L: of these, how many do not see a photo")
    unit: Literal["photo", "person"] = Field("photo", description="what is left out together")

    @model_validator(mode="after")
    def _somebody_trains(self) -> SELENA:
        if self.left_out >= self.models:
            raise ValueError("left_out must be below models: a photo that nobody trains on protects nothing")
        return self

    def blind(self, identity: np.ndarray, seed: int) -> np.ndarray:
        """(N, models) bool: which networks leave a photo out; exactly ``left_out`` of them."""
        groups = np.unique(identity, return_inverse=True)[1] if self.unit == "person" else np.arange(len(identity))
        rng = np.random.default_rng([seed, 13])
        ranks = rng.random((groups.max() + 1, self.models)).argsort(1).argsort(1)
        return (ranks < self.left_out)[groups]

    def fit(self, trainer: TrainerProtocol) -> None:
        blind = self.blind(np.asarray(trainer.photos.identity), trainer.seed)
        first = copy.deepcopy(trainer.backbone)
        targets = []
        for number in range(self.models):
            loop = self._loop(trainer, copy.deepcopy(first), trainer.photos.take(np.flatnonzero(~blind[:, number])), number)
            loop.run()
            trainer.history.extend(loop.history)
            targets.append(embed_photos(loop.backbone, trainer.photos, trainer.input, trainer.device))
        student = self._loop(
            trainer,
            trainer.backbone,
            trainer.photos,
            self.models,
            Imitation.of(torch.stack(targets, 1), torch.from_numpy(blind)),
        )
        student.run()
        trainer.history.extend(student.history)

    def _loop(
        self, trainer: TrainerProtocol, backbone: nn.Module, photos: Photos, number: int, defense: Defense | None = None
    ) -> Loop:
        """The plain loop of one network, with a head and a checkpoint of its own."""
        old, seed = trainer.head, derived_seed(trainer.seed, 14, number)
        classes = len(np.unique(np.asarray(photos.identity)))
        generator = torch.Generator().manual_seed(seed)
        return Loop(
            backbone,
            type(old)(trainer.embedding_size, classes, old.scale, old.margin, generator),
            photos,
            trainer.config,
            trainer.input,
            seed=seed,
            device=trainer.device,
            defense=defense,
            checkpoint=trainer.checkpoint and trainer.checkpoint.with_name(f"network-{number}.pt"),
            progress=trainer.progress,
        )

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Its blind spot: the teachers of a photo saw the person's other photos, by which the head is grown again."""
        return against_training()
