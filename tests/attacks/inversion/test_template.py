from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from attacks.inversion.random_latents import RandomLatents
from attacks.inversion.template import Template
from benchmark.interfaces import NotApplicableError


def test_reaches_the_template_far_beyond_random_faces(bench):
    made = bench.run(Template(steps=60, pool=64, validation=False, average=20, space="w"))
    blind = bench.run(RandomLatents())
    assert bench.cosines(made.images).min() > bench.cosines(blind.images).max()
    assert bench.cosines(made.images).mean() > 0.9
    assert made.trace[-1] < made.trace[0]


def test_w_plus_holds_more_than_w(bench):
    settings = {"steps": 60, "pool": 64, "validation": False, "average": 1, "weight_decay": 0}
    narrow, wide = (bench.run(Template(space=s, **settings)).trace[-1] for s in ("w", "w+"))
    assert wide <= narrow * 1.05


def test_an_unseen_encoder_chooses_the_latent_that_the_others_agree_with(bench):
    """Of three candidates per template the encoder sees two alike and one apart: never that one."""
    seen = []

    def encoder(images):
        seen.append(len(images))
        apart = torch.arange(len(images)) % 3 == 0
        return torch.where(apart[:, None], torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))

    attack = Template(latents=3, steps=5, average=1, pool=32)
    made = bench.run(attack, surrogate=lambda: encoder)
    assert seen == [18]
    assert made.notes == ()
    chosen = attack._agreed(bench.context(surrogate=lambda: encoder), torch.zeros(18, 1, 24))
    assert (chosen != 0).all()


def test_without_an_encoder_it_says_by_what_it_chose(bench):
    made = bench.run(Template(steps=3, average=1, pool=16), surrogate=None)
    assert "the attacked model itself" in made.notes[0]


def test_batches_change_nothing(bench):
    """Two templates alone give what they give among six."""
    settings = Template(steps=10, pool=16, validation=False, average=3)
    together = bench.run(settings).images
    alone = bench.run(settings, templates=bench.templates[:2], count=2).images
    torch.testing.assert_close(alone, together[:2], atol=1e-4, rtol=0)


def test_mirrored_images_are_part_of_the_objective_where_asked(bench):
    plain, both = (bench.run(Template(steps=5, pool=16, validation=False, flip=f)) for f in (False, True))
    assert plain.trace != both.trace


def test_needs_a_template_and_a_generator(bench):
    with pytest.raises(NotApplicableError, match="no template leaked"):
        bench.run(Template(steps=1), templates=None)
    with pytest.raises(NotApplicableError, match="faceveil generator train"):
        bench.run(Template(steps=1), generator=None)
    with pytest.raises(ValidationError):
        Template(steps=0)
