"""Differentially private training whose unit is a person: all of somebody's photos at once."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from benchmark.interfaces import AttackSpec, Defense, Reference, Trainer
from benchmark.pretraining import pretrain
from benchmark.private_training import Gradients, Mechanism, PrivateRun, StepSettings, plan, private
from benchmark.protocol import BackboneSpec


class DPUser(Defense):
    """DP-SGD with people as units (McMahan et al. 2018, one gradient a person and round).

    In each round every person takes part with the same probability, independently; the mean gradient of all of a person's
    photos is clipped to one norm, so that however many photos somebody has, their influence is the same.  Two training sets
    are neighbours where one lacks all photos of one person.

    The head.  A classification head has a row for every person, which is a trace of them.  Its rows are therefore slots that
    exist before any photo is seen: how many there are is public, their first values are random and independent of the
    photos, and a person's slot stays where their photos are missing.  With ``head="joint"`` a person's gradient with respect
    to *all* rows is part of the update that is clipped and noised, so that the guarantee covers backbone and head; with
    ``head="fixed"`` the rows keep their random directions and carry no noise.

    ``pretrain_epochs`` trains on the track's public people first; the guarantee is that of the members.
    Randomness derives from the seed, as in ``dp_sgd``.
    """

    name: ClassVar[str] = "dp_user"
    summary: ClassVar[str] = "DP-SGD that clips per person, so that the certified epsilon is a person's, not a photo's."
    reference: ClassVar[Reference] = Reference(
        title="Learning Differentially Private Recurrent Language Models", where="ICLR 2018", arxiv="1710.06963"
    )
    family: ClassVar[str] = "dp"
    honours: ClassVar[frozenset[str]] = frozenset()  # its own loop: per-photo cross entropy and nothing else

    epsilon: float | None = Field(None, gt=0, description="target; the noise_multiplier is then found")
    noise_multiplier: float | None = Field(0.62, gt=0, description="noise deviation in units of max_grad_norm")
    delta: float | None = Field(None, gt=0, lt=1, description="None: 1 / (number of people) ^ 1.1")
    max_grad_norm: PositiveFloat = Field(1.0, description="every person's gradient is clipped to this norm")
    users: PositiveInt = Field(64, description="expected people a round; capped at the number of people")
    rounds: PositiveInt = 60
    lr: PositiveFloat = 1.0
    momentum: float = Field(0.0, ge=0, lt=1)
    head: Literal["joint", "fixed"] = Field("joint", description="rows trained within a person's update, or left random")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the average of weights that is handed out; 0: the last weights")
    pretrain_epochs: NonNegativeInt = Field(0, description="epochs on the track's public people beforehand")
    gradients: Gradients = Field("ghost", description="by ghost clipping, or by hooks that hold every person's gradient")
    physical_batch: PositiveInt = Field(256, description="photos held in memory at once; changes no result but rounding")

    @model_validator(mode="before")
    @classmethod
    def _one_target(cls, values: Any) -> Any:
        """A target epsilon alone switches the default noise multiplier off."""
        if isinstance(values, dict) and values.get("epsilon") is not None:
            return {"noise_multiplier": None, **values}
        return values

    @model_validator(mode="after")
    def _exactly_one(self) -> DPUser:
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise ValueError("give either a target epsilon or a noise_multiplier, not both and not neither")
        return self

    def uses_public(self) -> bool:
        return self.pretrain_epochs > 0

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        if backbone.kwargs.get("norm", "batch") != "batch":
            return backbone
        return BackboneSpec(name=backbone.name, kwargs={**backbone.kwargs, "norm": "group"})

    def plan(self, people: int) -> Mechanism:
        """Noise and guarantee for a training set of this many people.

        Raises:
            FaceVeilError: no noise reaches the target epsilon.
        """
        return plan(
            people,
            self.users,
            steps=self.rounds,
            epsilon=self.epsilon,
            noise_multiplier=self.noise_multiplier,
            delta=self.delta,
        )

    def steps(self) -> StepSettings:
        """How the rounds are taken."""
        return StepSettings(
            self.lr,
            self.max_grad_norm,
            self.momentum,
            ema=self.ema,
            gradients=self.gradients,
            physical_batch=self.physical_batch,
        )

    def fit(self, trainer: Trainer) -> None:
        units = people(np.asarray(trainer.photos.identity))
        mechanism = self.plan(len(units))
        trainer.provenance.update(mechanism.provenance(self.name, "person"))
        with private(trainer, self.steps()):
            pass  # refuses what cannot be private before anything is trained
        if self.pretrain_epochs:
            pretrain(trainer, self.pretrain_epochs)
        trainer.head.requires_grad_(self.head == "joint")
        with private(trainer, self.steps()) as model:
            PrivateRun(self.name, trainer, model, mechanism, self.steps(), units).train()

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """GroupNorm stores no statistics: distances are taken to means of the features.  The head is grown again."""
        distances = tuple(
            AttackSpec(name="bn_distance", settings={"statistics": "feature_means", "statistic": statistic})
            for statistic in ("mean", "mean_var")
        )
        return (*distances, AttackSpec(name="regrown_head"))


def people(identity: np.ndarray) -> list[np.ndarray]:
    """Positions of every person's photos."""
    return [np.flatnonzero(identity == person) for person in np.unique(identity)]
