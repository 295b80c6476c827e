"""Differentially private training: DP-SGD with GroupNorm in place of BatchNorm."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from benchmark.interfaces import AttackSpec, Defense, Reference, Trainer
from benchmark.pretraining import pretrain
from benchmark.private_training import Gradients, Mechanism, PrivateRun, StepSettings, plan, private
from benchmark.protocol import BackboneSpec

# Noise far below what any accountant turns into a promise, for the utility of training without.  A setting given beside a
# preset takes its place.
PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "high_utility": {"noise_multiplier": 0.00625, "batch_size": 64, "lr": 4.0, "epochs": 16, "multiplicity": 8},
    "medium": {"noise_multiplier": 0.2, "batch_size": 2048, "epochs": 200, "ema": 0.999},
}


class DPSGD(Defense):
    """DP-SGD (Abadi et al. 2016): per-photo gradients clipped to one norm, summed, Gaussian noise added.

    The unit of protection is one photo: two training sets are neighbours where one has a photo more.  Public are the number
    of photos, the people and who is in which photo.  The clip covers backbone and head together, so the guarantee holds for
    both.  Batches are Poisson samples, as the accountant assumes.

    ``multiplicity`` averages a photo's gradient over that many augmented views before the clip, and ``ema`` hands out the
    running average of the noisy weights (De et al. 2022, arXiv 2204.13650): neither costs privacy.  With ``pretrain_epochs``
    the backbone is first trained on the track's public people, whom the guarantee does not cover.  The presets
    ``high_utility`` and ``medium`` have noise so small that epsilon is vacuous: they claim nothing.

    Noise and sampling derive from the seed, so that an entry can be re-trained to the same weights.  That is right for a
    benchmark whose attackers do not use the seed; a model to be deployed must draw both from a secret, secure source.
    """

    name: ClassVar[str] = "dp_sgd"
    summary: ClassVar[str] = "Clipped and noised gradients (DP-SGD), GroupNorm in place of BatchNorm, with a certified epsilon."
    reference: ClassVar[Reference] = Reference(
        title="Deep Learning with Differential Privacy", where="CCS 2016", arxiv="1607.00133", equation="algorithm 1"
    )
    family: ClassVar[str] = "dp"
    honours: ClassVar[frozenset[str]] = frozenset()  # its own loop: per-photo cross entropy and nothing else

    preset: Literal["none", "high_utility", "medium"] = Field("none", description="values for the settings that are not given")
    epsilon: float | None = Field(8.0, gt=0, description="target; None where noise_multiplier is given")
    noise_multiplier: float | None = Field(None, gt=0, description="noise deviation in units of max_grad_norm")
    delta: float | None = Field(None, gt=0, lt=1, description="None: 1 / (number of photos) ^ 1.1")
    max_grad_norm: PositiveFloat = Field(1.0, description="every photo's gradient is clipped to this norm")
    batch_size: PositiveInt = Field(256, description="expected photos a step; capped at the number of photos")
    epochs: PositiveInt = Field(30, description="passes over the photos, in expectation")
    lr: PositiveFloat = 1.0
    momentum: float = Field(0.0, ge=0, lt=1)
    multiplicity: PositiveInt = Field(1, le=64, description="augmented views of a photo whose mean gradient is clipped")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the average of weights that is handed out; 0: the last weights")
    pretrain_epochs: NonNegativeInt = Field(0, description="epochs on the track's public people beforehand")
    gradients: Gradients = Field("ghost", description="by ghost clipping, or by hooks that hold every photo's gradient")
    physical_batch: PositiveInt = Field(256, description="photos held in memory at once; changes no result but rounding")

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, values: Any) -> Any:
        """A preset fills what is not given; a noise multiplier alone switches the default target epsilon off."""
        if not isinstance(values, dict):
            return values
        preset = PRESETS.get(values.get("preset", "none"), {})
        if values.get("epsilon") is not None:
            preset = {k: v for k, v in preset.items() if k != "noise_multiplier"}
        values = {**preset, **values}
        if values.get("noise_multiplier") is not None:
            return {"epsilon": None, **values}
        return values

    @model_validator(mode="after")
    def _exactly_one(self) -> DPSGD:
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise ValueError("give either a target epsilon or a noise_multiplier, not both and not neither")
        return self

    def uses_public(self) -> bool:
        return self.pretrain_epochs > 0

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        if backbone.kwargs.get("norm", "batch") != "batch":
            return backbone
        return BackboneSpec(name=backbone.name, kwargs={**backbone.kwargs, "norm": "group"})

    def check(self, backbone: BackboneSpec, photos: int) -> None:  # noqa: ARG002
        self.plan(photos)

    def plan(self, photos: int) -> Mechanism:
        """Noise and guarantee for a training set of this many photos.

        Raises:
            FaceVeilError: no noise reaches the target epsilon.
        """
        return plan(
            photos,
            self.batch_size,
            epochs=self.epochs,
            epsilon=self.epsilon,
            noise_multiplier=self.noise_multiplier,
            delta=self.delta,
        )

    def steps(self) -> StepSettings:
        """How the steps are taken."""
        return StepSettings(
            self.lr, self.max_grad_norm, self.momentum, self.multiplicity, self.ema, self.gradients, self.physical_batch
        )

    def fit(self, trainer: Trainer) -> None:
        mechanism = self.plan(len(trainer.photos))
        trainer.provenance.update(mechanism.provenance(self.name, "photo"))
        with private(trainer, self.steps()):
            pass  # refuses what cannot be private before anything is trained
        if self.pretrain_epochs:
            pretrain(trainer, self.pretrain_epochs)
        with private(trainer, self.steps()) as model:
            units = list(np.arange(len(trainer.photos))[:, None])
            PrivateRun(self.name, trainer, model, mechanism, self.steps(), units).train()

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """GroupNorm stores no statistics: distances are taken to means of the features.  The head is grown again."""
        distances = tuple(
            AttackSpec(name="bn_distance", settings={"statistics": "feature_means", "statistic": statistic})
            for statistic in ("mean", "mean_var")
        )
        return (*distances, AttackSpec(name="regrown_head"))
