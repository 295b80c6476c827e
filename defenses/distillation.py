"""Distillation on public faces: the released backbone never saw a member."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field, PositiveInt

from benchmark.interfaces import AttackSpec, Defense, Photos, Reference, TrainerProtocol
from benchmark.runtime.seeding import derived_seed
from benchmark.training.loop import Trainer as Loop
from defenses.shared.adaptive import against_training
from defenses.shared.imitation import Imitation, embed_photos
from defenses.shared.public_photos import public_photos


class Distillation(Defense):
    """A teacher is trained on the members as usual; a student of the same first weights learns its embeddings by cosine.

    The student sees public photos alone: after the teacher no member's photo is touched.  What the teacher kept of its
    members can still reach the student through the public faces that resemble them.
    """

    name: ClassVar[str] = "distillation"
    title: ClassVar[str] = "distillation"
    summary: ClassVar[str] = "A student that learns the embeddings of public faces from a teacher trained on members."
    reference: ClassVar[Reference] = Reference(
        title="Membership Privacy for Machine Learning Models Through Knowledge Transfer", where="AAAI 2021", arxiv="1906.06589"
    )
    family: ClassVar[str] = "training"
    needs_public: ClassVar[bool] = True

    epochs: PositiveInt | None = Field(
        None, le=1000, description="passes of the student over the public photos; None: the track's"
    )

    def fit(self, trainer: TrainerProtocol) -> None:
        student = copy.deepcopy(trainer.backbone)
        trainer.run()
        public = public_photos(trainer)
        targets = embed_photos(trainer.backbone, public, trainer.input, trainer.device)
        config = trainer.config.model_copy(update={"epochs": self.epochs or trainer.config.epochs})
        loop = Loop(
            student,
            copy.deepcopy(trainer.head),
            _OneClass(public),
            config,
            trainer.input,
            seed=derived_seed(trainer.seed, 12),
            device=trainer.device,
            defense=Imitation.of(targets[:, None]),
            checkpoint=trainer.checkpoint and trainer.checkpoint.with_name("student.pt"),
            progress=trainer.progress,
        )
        loop.run()
        trainer.backbone.load_state_dict(loop.backbone.state_dict())
        trainer.history.extend(loop.history)

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        return against_training()


class _OneClass:
    """Photos whose people are not told apart: the student's loop has no use for labels."""

    def __init__(self, photos: Photos) -> None:
        self._photos = photos
        self.identity: np.ndarray = photos.identity * 0
        self.keys, self.digest, self.load = photos.keys, photos.digest, photos.load

    def __len__(self) -> int:
        return len(self.identity)

    def take(self, index: Sequence[int] | np.ndarray) -> Photos:
        """Some of the photos, in the order of ``index``."""
        return _OneClass(self._photos.take(index))
