from __future__ import annotations

import torch

from attacks.inversion.plug_and_play import PlugAndPlay, random_crops
from attacks.inversion.random_latents import RandomLatents
from benchmark.interfaces import Access, Goal


def test_beats_random_faces(bench):
    made = bench.run(PlugAndPlay(steps=60, lr=0.1, candidates=64, optimised=2, transforms=4))
    assert bench.cosines(made.images).mean() > bench.cosines(bench.run(RandomLatents()).images).mean() + 0.3


def test_a_crop_of_everything_is_the_image():
    images = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(random_crops(images, 1.0), images, atol=1e-5, rtol=0)


def test_crops_stay_inside_and_differ():
    """On a ramp, a crop of at least half the side keeps within the ramp's values and spans at least half of them."""
    ramp = torch.linspace(0, 1, 32).expand(40, 3, 32, 32)
    torch.manual_seed(0)
    cropped = random_crops(ramp, 0.5)
    assert cropped.min() >= 0
    assert cropped.max() <= 1
    span = cropped.amax((1, 2, 3)) - cropped.amin((1, 2, 3))
    assert span.min() > 0.42
    assert span.max() < 1.001
    assert span.std() > 0.05


def test_the_final_choice_is_robust_to_crops(bench):
    """More transforms, no worse under fresh crops than the first candidate of each template."""
    torch.manual_seed(0)
    made = bench.run(PlugAndPlay(steps=20, candidates=64, optimised=4, transforms=20))
    single = bench.run(PlugAndPlay(steps=20, candidates=64, optimised=1, transforms=1))

    def robust(images):
        return torch.stack([bench.cosines(random_crops(images, 0.9)) for _ in range(20)]).mean()

    assert robust(made.images) >= robust(single.images) - 0.01


def test_without_a_template_the_guide_is_followed(bench, bright):
    made = bench.run(PlugAndPlay(steps=30, lr=0.1, candidates=24), Goal.TRAINING_IDENTITIES, guide=bright)
    assert bright(None)(made.images).mean() > 0
    assert made.trace[-1] < made.trace[0]


def test_a_head_is_a_reference():
    assert PlugAndPlay().required_access() == Access.WEIGHTS
    assert PlugAndPlay(head=True).required_access() == Access.HEAD
