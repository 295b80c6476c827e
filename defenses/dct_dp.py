"""Frequencies of the photo without the mean and with learned noise, in front of the backbone."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from benchmark.interfaces import AttackSpec, BackboneSpec, Defense, Reference
from defenses.shared.adaptive import against_training


class DctDP(Defense):
    """The network sees 189 of 192 cosine coefficients a pixel, each with Laplace noise; the noise budgets are learned.

    The privacy it speaks of is that of the photo that is *asked about*, coefficient by coefficient.  It makes no statement
    about the photos trained on, and so the card claims no epsilon.

    Whoever knows it averages over views of a photo, which draw other noise.
    """

    name: ClassVar[str] = "dct_dp"
    title: ClassVar[str] = "DCTDP"
    summary: ClassVar[str] = "Frequencies of the photo without the mean, with learned Laplace noise, in front of the backbone."
    reference: ClassVar[Reference] = Reference(
        title="Privacy-Preserving Face Recognition with Learnable Privacy Budgets in Frequency Domain",
        where="ECCV 2022",
        arxiv="2207.07316",
    )
    family: ClassVar[str] = "input"

    budget: float = Field(4.0, ge=0.01, le=1000, description="mean privacy budget of a coefficient; less is more noise")

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        return backbone.model_copy(update={"kwargs": {**backbone.kwargs, "front": ["noisy_spectrum", self.budget]}})

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """The head grown again beside same-defence shadows, and views, over which the noise averages out."""
        return against_training(AttackSpec(name="encoder_mi"), AttackSpec(name="view_stack"))
