from __future__ import annotations

import torch

from attacks.inversion.nearest_public import NearestPublic
from benchmark.interfaces import Goal


def test_hands_out_the_nearest_photo(bench):
    made = bench.run(NearestPublic())
    photos = bench.photos.images.float().div(255)
    cosines = torch.nn.functional.normalize(bench.templates) @ torch.nn.functional.normalize(bench.target.features(photos)).T
    torch.testing.assert_close(made.images, photos[cosines.argmax(1)])


def test_a_photo_of_the_very_template_is_found(bench):
    photos = bench.photos.images[[7, 30, 55]].float().div(255)
    made = bench.run(NearestPublic(), templates=bench.target.features(photos), count=3)
    torch.testing.assert_close(made.images, photos)


def test_looks_through_as_many_as_allowed(bench):
    few = bench.run(NearestPublic(photos=3))
    assert len(torch.unique(few.images.flatten(1), dim=0)) <= 3


def test_without_templates_photos_of_different_people(bench):
    made = bench.run(NearestPublic(), Goal.TRAINING_IDENTITIES)
    photos = bench.photos.images.float().div(255).flatten(1)
    people = [int(bench.photos.identity[(photos - image.flatten()).abs().sum(1).argmin()]) for image in made.images]
    assert len(set(people)) == 6
