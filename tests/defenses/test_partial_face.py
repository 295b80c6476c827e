from __future__ import annotations

import torch

from benchmark.interfaces import BackboneSpec
from benchmark.models.backbones import create
from benchmark.models.input_transforms import PartialSpectrum
from benchmark.runtime.seeding import seeded
from defenses.partial_face import PartialFace

KWARGS = {"width": 0.125, "embedding_size": 16, "input_size": [32, 32]}


def test_the_card_can_name_it():
    spec = PartialFace().prepare(BackboneSpec(name="iresnet_slim", kwargs=KWARGS))
    assert spec.kwargs == {**KWARGS, "front": "partial_spectrum"}
    assert PartialFace().prepare(spec) == spec


def test_what_the_eye_sees_does_not_reach_the_network():
    """A change of brightness alone moves no embedding, apart from the rounding of the photo's key."""
    with seeded(0):
        backbone = create("iresnet_slim", PartialFace().prepare(BackboneSpec(name="iresnet_slim", kwargs=KWARGS)).kwargs)
    backbone.eval()
    assert isinstance(backbone.front, PartialSpectrum)
    images = torch.rand(2, 3, 32, 32) - 0.5
    full = backbone.front.spectrum(images)
    brighter = backbone.front.spectrum(images + 0.2)
    moved = (full - brighter).abs().amax((0, 1, 3, 4)) > 1e-3
    assert moved.nonzero().flatten().tolist() == [0]
    assert 0 not in backbone.front.subsets
