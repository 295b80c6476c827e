"""What differentially private defences share, whatever their unit: their settings, and the order of their work."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from benchmark.interfaces import AttackSpec, BackboneSpec, Defense, FaceVeilError, Photos, TrainerProtocol
from benchmark.models.normalisation import fold, named
from benchmark.training.loop import Trainer
from benchmark.training.scale import Group
from defenses.private.training import Gradients, Mechanism, PrivateRun, StepSettings, private
from defenses.shared.adaptive import against_missing_statistics
from defenses.shared.freezing import first_layers, frozen
from defenses.shared.pretraining import pretrain


class PrivateDefense(Defense):
    """Base of DP-SGD per photo and per person.

    BatchNorm mixes the photos of a batch, which no clipping per unit bounds.  With ``norm="group"`` GroupNorm stands in its
    place.  With ``norm="public"`` the backbone keeps BatchNorm while it is trained on public people; then the public
    statistics are folded into the weights, and the private steps train a network without any norm, whose photos are
    independent of each other.
    """

    family: ClassVar[str] = "dp"
    honours: ClassVar[frozenset[str]] = frozenset()  # its own loop: per-photo cross entropy and nothing else
    unit: ClassVar[Literal["photo", "person"]]

    epsilon: float | None = Field(None, gt=0, le=1e6, description="target; None where noise_multiplier is given")
    noise_multiplier: float | None = Field(None, gt=0, le=1000, description="noise deviation in units of max_grad_norm")
    delta: float | None = Field(None, gt=0, lt=1, description="None: 1 / (number of units) ^ 1.1")
    tuning_runs: PositiveInt = Field(
        1,
        le=10**6,
        description="trainings on the private photos, this one among them, that chose the settings: epsilon covers them all",
    )
    max_grad_norm: PositiveFloat = Field(1.0, le=1e6, description="every unit's gradient is clipped to this norm")
    lr: PositiveFloat = Field(1.0, le=1000)
    momentum: float = Field(0.0, ge=0, lt=1)
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the average of weights that is handed out; 0: the last weights")
    pretrain_epochs: NonNegativeInt = Field(0, le=1000, description="epochs on the track's public people beforehand")
    norm: Literal["group", "public"] = Field("group", description="GroupNorm, or BatchNorm of public faces, folded")
    frozen: float = Field(0.0, ge=0, lt=1, description="share of the layers that private steps leave alone, from the photo on")
    gradients: Gradients = Field("ghost", description="by ghost clipping, or by hooks that hold every unit's gradient")
    physical_batch: PositiveInt = Field(
        256, le=2**20, description="photos held in memory at once; changes no result but rounding"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_target(cls, values: Any) -> Any:
        """A target epsilon alone switches a default noise multiplier off, and the other way round."""
        if not isinstance(values, dict):
            return values
        for given, other in (("epsilon", "noise_multiplier"), ("noise_multiplier", "epsilon")):
            if values.get(given) is not None and other not in values:
                return {other: None, **values}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> PrivateDefense:
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise ValueError("give exactly one of a target epsilon and a noise_multiplier")
        if not self.pretrain_epochs and (self.norm == "public" or self.frozen):
            raise ValueError("norm=public and frozen keep what public faces have taught: give pretrain_epochs, too")
        return self

    def uses_public(self) -> bool:
        return self.pretrain_epochs > 0

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        if self.norm == "public" or backbone.kwargs.get("norm", "batch") != "batch":
            return backbone
        return named(backbone, "group")

    def released_spec(self, backbone: BackboneSpec) -> BackboneSpec:
        return named(backbone, "folded") if self.norm == "public" else backbone

    def check(self, backbone: BackboneSpec, photos: int) -> None:
        processes = Group.current().size
        if processes > 1:
            raise FaceVeilError(
                f"{self.name} takes its private steps in one process, and {processes} were started: each would do all of them, "
                "with noise of its own. Start it without torchrun."
            )
        if self.norm == "public" and backbone.kwargs.get("norm", "batch") != "batch":
            raise FaceVeilError(f"{self.name}: norm=public folds BatchNorm, which this backbone does not have: drop its norm.")
        self.plan_for(photos)

    def plan_for(self, photos: int) -> None:
        """Refuses what no noise reaches, where the number of units is known from that of the photos."""

    def plan(self, units: int) -> Mechanism:
        """Noise and guarantee for a training set of this many units.

        Raises:
            FaceVeilError: no noise reaches the target epsilon.
        """
        raise NotImplementedError

    def units(self, photos: Photos) -> Sequence[np.ndarray]:
        """The positions of every unit's photos."""
        raise NotImplementedError

    def steps(self) -> StepSettings:
        """How the steps are taken."""
        return StepSettings(
            self.lr,
            self.max_grad_norm,
            self.momentum,
            ema=self.ema,
            gradients=self.gradients,
            physical_batch=self.physical_batch,
        )

    def public_head(self) -> bool:
        """Whether the head's rows stay as they were drawn, before any photo was seen."""
        return False

    def fit(self, trainer: TrainerProtocol) -> None:
        assert isinstance(trainer, Trainer)  # whose batches and checkpoints the private loop takes
        units = self.units(trainer.photos)
        mechanism = self.plan(len(units))
        trainer.provenance.update(mechanism.provenance(self.name, self.unit))
        rehearsal = copy.deepcopy(trainer.backbone)
        with private(trainer, self.steps(), fold(rehearsal) if self.norm == "public" else rehearsal):
            pass  # refuses what cannot be private before anything is trained
        if self.pretrain_epochs:
            pretrain(trainer, self.pretrain_epochs)
        if self.norm == "public":
            fold(trainer.backbone)
        kept = [p for layer in first_layers(trainer.backbone, self.frozen) for p in layer.parameters(recurse=False)]
        kept += list(trainer.head.parameters()) if self.public_head() else []
        with frozen(kept), private(trainer, self.steps(), trainer.backbone) as model:
            PrivateRun(self.name, trainer, model, mechanism, self.steps(), units).train()

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """There are no statistics to read: distances are taken to means of the features.  The head is grown again."""
        return (*against_missing_statistics(), AttackSpec(name="regrown_head"))
