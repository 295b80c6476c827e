from __future__ import annotations

import torch

from attacks.inversion.random_latents import RandomLatents


def test_the_target_plays_no_part(bench):
    with_it, without = bench.run(RandomLatents()), bench.run(RandomLatents(), target=None, templates=None)
    assert torch.equal(with_it.images, without.images)


def test_truncation_draws_towards_the_mean_face(bench):
    wide, narrow = (bench.run(RandomLatents(truncation=t)).images.std(0).mean() for t in (1.0, 0.2))
    assert narrow < 0.5 * wide
