"""A random part of the high frequencies of each photo, in front of the backbone."""

from __future__ import annotations

from typing import ClassVar

from benchmark.interfaces import AttackSpec, BackboneSpec, Defense, Reference
from defenses.shared.adaptive import against_training


class PartialFace(Defense):
    """The network sees nine of 64 frequencies of each colour component, others for each photo and epoch.

    It was made against the reconstruction of the photo that is *asked about*; what it does for the photos trained on is
    measured here.  That no epoch shows the same part acts as an augmentation does.

    Whoever knows it reads several views of a photo, each of which shows another subset.
    """

    name: ClassVar[str] = "partial_face"
    title: ClassVar[str] = "PartialFace"
    summary: ClassVar[str] = "A random ninth of the high frequencies of each photo in front of the backbone (PartialFace)."
    reference: ClassVar[Reference] = Reference(
        title="Privacy-Preserving Face Recognition Using Random Frequency Components", where="ICCV 2023", arxiv="2308.10461"
    )
    family: ClassVar[str] = "input"

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        return backbone.model_copy(update={"kwargs": {**backbone.kwargs, "front": "partial_spectrum"}})

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """The head grown again beside same-defence shadows, and views, which change the subset that is shown."""
        return against_training(AttackSpec(name="encoder_mi"), AttackSpec(name="view_stack"))
