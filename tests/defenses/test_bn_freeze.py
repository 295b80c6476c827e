from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError

from benchmark.interfaces import DefenseSpec
from benchmark.models.bn_statistics import reestimate, with_statistics
from defenses.bn_freeze import BNFreeze


def statistics(backbone) -> dict[str, torch.Tensor]:
    return {name: layer.running_mean.clone() for name, layer in with_statistics(backbone).items()}


def test_training_photos_never_enter_a_statistic(make_trainer, public, photos):
    """With other training photos in the last epoch, the statistics that are released stay the same."""
    trainer = make_trainer(BNFreeze(), public=public)
    trainer.run(3)
    expected = statistics(reestimate(copy.deepcopy(trainer.backbone), public, trainer.input, trainer.device))
    photos_before, trainer.photos = trainer.photos, copy.copy(photos)
    trainer.photos.pixels = 255 - photos_before.pixels
    trainer.run(4)
    for name, mean in statistics(trainer.backbone).items():
        torch.testing.assert_close(mean, expected[name], rtol=0, atol=0)


def test_without_refresh_they_stay_those_of_the_first_weights(make_trainer, public):
    trainer = make_trainer(BNFreeze(refresh=0), public=public)
    expected = statistics(reestimate(copy.deepcopy(trainer.backbone), public, trainer.input, trainer.device))
    trainer.run()
    for name, mean in statistics(trainer.backbone).items():
        assert torch.equal(mean, expected[name]), name
    moved = reestimate(copy.deepcopy(trainer.backbone), public, trainer.input, trainer.device)
    assert any(not torch.allclose(m, expected[n], rtol=0.05) for n, m in statistics(moved).items())


def test_it_learns(make_trainer, public, track):
    trainer = make_trainer(BNFreeze(), public=public, config=track.training.model_copy(update={"epochs": 8}))
    trainer.run()
    assert trainer.history[-1].loss < 0.8 * trainer.history[0].loss


def test_an_interrupted_run_ends_in_the_same_weights(make_trainer, public, tmp_path):
    whole = make_trainer(BNFreeze(refresh=2), public=public)
    whole.run()
    make_trainer(BNFreeze(refresh=2), public=public, checkpoint=tmp_path / "c.pt").run(3)
    resumed = make_trainer(BNFreeze(refresh=2), public=public, checkpoint=tmp_path / "c.pt")
    resumed.run()
    for name, tensor in whole.backbone.state_dict().items():
        assert torch.equal(resumed.backbone.state_dict()[name], tensor), name


def test_public_faces_are_on_the_card(flow):
    card = flow.train(DefenseSpec(name="bn_freeze"), name="contract-bn_freeze").card
    assert [d.name for d in card.additional_data] == ["public"]


def test_strengths_out_of_range_are_refused():
    with pytest.raises(ValidationError, match="refresh"):
        BNFreeze(refresh=-1)
