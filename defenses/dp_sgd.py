"""Differentially private training: DP-SGD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from benchmark.interfaces import Photos, Reference
from defenses.private.base import PrivateDefense
from defenses.private.training import Mechanism, StepSettings, plan

# A setting given beside a preset takes its place.  ``high_utility`` and ``medium`` have noise far below what any accountant
# turns into a promise, for the utility of training without.
PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "public": {
        "pretrain_epochs": 10,
        "norm": "public",
        "frozen": 0.9,
        "batch_size": 4096,
        "epochs": 10,
        "lr": 4.0,
    },
    "high_utility": {"noise_multiplier": 0.00625, "batch_size": 64, "lr": 4.0, "epochs": 16, "multiplicity": 8},
    "medium": {"noise_multiplier": 0.2, "batch_size": 2048, "epochs": 200, "ema": 0.999},
}


class DPSGD(PrivateDefense):
    """DP-SGD (Abadi et al. 2016): per-photo gradients clipped to one norm, summed, Gaussian noise added.

    The unit of protection is one photo: two training sets are neighbours where one has a photo more.  Public are the number
    of photos, the people and who is in which photo.  The clip covers backbone and head together, so the guarantee holds for
    both.  Batches are Poisson samples, as the accountant assumes.

    ``multiplicity`` averages a photo's gradient over that many augmented views before the clip, and ``ema`` hands out the
    running average of the noisy weights (De et al. 2022, arXiv 2204.13650): neither costs privacy.  With ``pretrain_epochs``
    the backbone is first trained on the track's public people, whom the guarantee does not cover.  The preset ``public`` is
    the baseline to beat: almost all of it is learned from public faces.  The presets ``high_utility`` and ``medium`` have
    noise so small that epsilon is vacuous: they claim nothing.

    Noise and sampling derive from a secret of the installation, so that they are the same when a training is repeated here and
    cannot be drawn again from the card.  A model to be deployed must draw both from a cryptographically secure generator.
    """

    name: ClassVar[str] = "dp_sgd"
    title: ClassVar[str] = "DP-SGD"
    summary: ClassVar[str] = "Clipped and noised gradients (DP-SGD) without BatchNorm of members, with a certified epsilon."
    reference: ClassVar[Reference] = Reference(
        title="Deep Learning with Differential Privacy", where="CCS 2016", arxiv="1607.00133", equation="algorithm 1"
    )
    unit: ClassVar[Literal["photo", "person"]] = "photo"

    preset: Literal["none", "public", "high_utility", "medium"] = Field(
        "none", description="values for the settings that are not given"
    )
    epsilon: float | None = Field(8.0, gt=0, le=1e6, description="target; None where noise_multiplier is given")
    batch_size: PositiveInt = Field(256, le=2**20, description="expected photos a step; capped at the number of photos")
    epochs: PositiveInt = Field(30, le=1000, description="passes over the photos, in expectation")
    multiplicity: PositiveInt = Field(1, le=64, description="augmented views of a photo whose mean gradient is clipped")

    def display_settings(self) -> list[str]:
        noise = f"epsilon {self.epsilon:g}" if self.epsilon is not None else f"noise {self.noise_multiplier:g}"
        start = {"none": "", "public": "public start"}.get(self.preset, f"{self.preset.replace('_', ' ')} preset")
        return [noise, *([start] if start else [])]

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, values: Any) -> Any:
        """A preset fills what is not given; a target epsilon takes the place of its noise multiplier."""
        if not isinstance(values, dict):
            return values
        preset = PRESETS.get(values.get("preset", "none"), {})
        if values.get("epsilon") is not None:
            preset = {k: v for k, v in preset.items() if k != "noise_multiplier"}
        return {**preset, **values}

    def plan_for(self, photos: int) -> None:
        self.plan(photos)

    def plan(self, units: int) -> Mechanism:
        return plan(
            units,
            self.batch_size,
            epochs=self.epochs,
            epsilon=self.epsilon,
            noise_multiplier=self.noise_multiplier,
            delta=self.delta,
            tuning_runs=self.tuning_runs,
        )

    def units(self, photos: Photos) -> Sequence[np.ndarray]:
        return list(np.arange(len(photos))[:, None])

    def steps(self) -> StepSettings:
        return replace(super().steps(), views=self.multiplicity)
