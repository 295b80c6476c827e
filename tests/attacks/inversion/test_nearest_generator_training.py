from __future__ import annotations

import pytest
import torch

from attacks.inversion.nearest_generator_training import NearestGeneratorTraining
from benchmark.interfaces import NotApplicableError


def test_hands_out_a_photo_that_the_generator_was_trained_on(bench):
    part = bench.photos.take(range(20))
    made = bench.run(NearestGeneratorTraining(), generator_training=part)
    known = part.images.float().div(255).flatten(1)
    distance = torch.cdist(made.images.flatten(1), known).min(1).values
    assert (distance < 1e-4).all()


def test_unknown_training_faces_are_not_applicable(bench):
    with pytest.raises(NotApplicableError, match="trained on"):
        bench.run(NearestGeneratorTraining(), generator_training=None)
