from __future__ import annotations

import numpy as np
import pytest
import torch
from photo_arrays import ArrayPhotos

from attacks.generators.config import GanConfig
from attacks.generators.training import GanTrainer, load_faces
from benchmark.interfaces import FaceVeilError

TINY = GanConfig(
    resolution=8, z_dim=8, w_dim=8, mapping_layers=2, channel_base=64, channel_max=8, discriminator_base=64,
    discriminator_max=8, warmup_images=32, images=64, batch_size=8, r1_every=4, path_weight=2.0, path_every=3, mirror=True,
)  # fmt: skip


def faces(count=40, size=8, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), dtype=np.uint8))


def weights(trainer):
    return {f"{name}.{key}": value for name, part in trainer._parts().items() if "optimizer" not in name
            for key, value in part.state_dict().items()}  # fmt: skip


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("stop", [2, 10])  # in the warm-up, and after it
def test_an_interrupted_run_ends_in_the_same_weights(tmp_path, stop):
    whole = GanTrainer(faces(), TINY, seed=5)
    finished = whole.run(every=2)

    def interrupt(trainer):
        if trainer.step == stop + 2:
            raise Interrupted
        return

    first = GanTrainer(faces(), TINY, seed=5, checkpoint=tmp_path / "run.pt")
    with pytest.raises(Interrupted):
        first.run(every=2, report=interrupt)
    second = GanTrainer(faces(), TINY, seed=5, checkpoint=tmp_path / "run.pt")
    assert second.step == stop
    again = second.run(every=2)
    assert_equal(weights(whole), weights(second))
    assert_equal(finished.state_dict(), again.state_dict())
    assert [line.images for line in second.history] == [line.images for line in whole.history]
    assert second.augmentation == whole.augmentation


def test_seed_decides_and_the_global_state_is_left_alone():
    torch.manual_seed(123)
    state = torch.get_rng_state()
    first, again, other = (GanTrainer(faces(), TINY, seed=seed) for seed in (1, 1, 2))
    for trainer in (first, again, other):
        trainer.run(every=100)
    assert torch.equal(torch.get_rng_state(), state)
    assert_equal(weights(first), weights(again))
    assert not torch.equal(first.average.synthesis.b8.conv1.weight, other.average.synthesis.b8.conv1.weight)


def test_a_longer_run_goes_on_from_a_shorter_one_with_the_same_result(tmp_path):
    path, longer = tmp_path / "run.pt", TINY.model_copy(update={"images": 96})
    GanTrainer(faces(), TINY, seed=5, checkpoint=path).run(every=3)
    further = GanTrainer(faces(), longer, seed=5, checkpoint=path)
    assert further.step == TINY.steps
    whole = GanTrainer(faces(), longer, seed=5)
    assert_equal(whole.run(every=100).state_dict(), further.run(every=100).state_dict())
    with pytest.raises(FaceVeilError, match=r"has seen 128 photos, more than the 96 asked for: raise images"):
        GanTrainer(faces(), TINY, seed=5, checkpoint=path)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    GanTrainer(faces(), TINY, seed=1, checkpoint=path).save()
    for other in ((faces(), TINY, 2), (faces(seed=3), TINY, 1), (faces(), TINY.model_copy(update={"lr": 0.1}), 1)):
        with pytest.raises(FaceVeilError, match="another run"):
            GanTrainer(other[0], other[1], seed=other[2], checkpoint=path)
    foreign = tmp_path / "foreign.pt"
    foreign.write_bytes(b"nothing")
    with pytest.raises(FaceVeilError, match="cannot be read"):
        GanTrainer(faces(), TINY, seed=1, checkpoint=foreign)


def test_a_checkpoint_that_was_damaged_since_it_was_written_is_made_again(tmp_path):
    path = tmp_path / "run.pt"
    GanTrainer(faces(), TINY, seed=1, checkpoint=path).run(every=100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert GanTrainer(faces(), TINY, seed=1, checkpoint=path).step == 0


def two_colours(count=64):
    """Half of the pictures red on the left, half blue on the left."""
    images = torch.zeros(count, 3, 8, 8, dtype=torch.uint8)
    images[::2, 0, :, :4] = images[1::2, 2, :, :4] = 230
    return images


@pytest.mark.parametrize("update", [{"images": 640, "warmup_images": 0}, {"images": 0, "warmup_images": 480}])
def test_training_moves_samples_to_the_faces(update):
    """Warm-up and adversarial steps, each by itself, draw pictures nearer to the training set than random weights do."""
    config = TINY.model_copy(update={"path_weight": 0.0, "mirror": False, "ema_images": 100, "lr": 0.01, "r1_every": 16})
    real = two_colours().float() / 255

    def distance(trainer):
        drawn = trainer.average.images(trainer.average.mapping(trainer.average.latents(64, seed=0)), "none")
        return (drawn.mean(0) - real.mean(0)).abs().mean().item()

    trainer = GanTrainer(two_colours(), config.model_copy(update=update), seed=0)
    before = distance(trainer)
    trainer.run(every=1000)
    assert distance(trainer) < 0.5 * before


def test_the_finished_generator_knows_the_mean_of_its_latents():
    trainer = GanTrainer(faces(), TINY, seed=0)
    generator = trainer.run(every=100)
    mean = generator.mapping.w(generator.latents(4000, seed=3)).mean(0)
    assert (generator.w_avg - mean).abs().max() < 0.1


def test_faces_are_brought_to_the_resolution():
    photos = ArrayPhotos(faces(6, size=16), np.zeros(6, int))
    found = load_faces(photos, 8)
    assert found.shape == (6, 3, 8, 8)
    assert found.dtype == torch.uint8
    assert abs(found.float().mean() - photos.images.float().mean()) < 3


def test_too_few_faces_and_diverging_losses_are_told():
    with pytest.raises(FaceVeilError, match="lower batch_size"):
        GanTrainer(faces(5), TINY, seed=0)
    trainer = GanTrainer(faces(), TINY, seed=0)
    with torch.no_grad():
        trainer.generator.synthesis.b8.torgb.bias.fill_(torch.nan)
    with pytest.raises(FaceVeilError, match="not finite"):
        trainer.run(every=100)
