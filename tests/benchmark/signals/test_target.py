from __future__ import annotations

import numpy as np
import pytest
import torch
from photo_arrays import noise_photos, target_of
from submission_factory import make_submission
from torch import nn

from benchmark.interfaces import Access, AccessError, FaceVeilError, NotApplicableError
from benchmark.signals.target import Target

LADDER = list(Access)


@pytest.fixture(scope="module")
def submission(tmp_path_factory):
    head = {"weight": torch.eye(16)}
    return make_submission(tmp_path_factory.mktemp("target") / "entry", head=head)


@pytest.mark.parametrize("held", LADDER)
@pytest.mark.parametrize("needed", LADDER)
def test_the_ladder_allows_what_lies_below(held, needed, submission):
    target = Target(submission, held)
    if LADDER.index(held) >= LADDER.index(needed):
        target.require(needed, "something")
    else:
        with pytest.raises(AccessError, match=f"something needs '{needed}' access, this attack declared '{held}'"):
            target.require(needed, "something")


def test_each_part_of_a_target_stands_behind_its_access(submission):
    images = torch.zeros(1, 3, 32, 32)
    with pytest.raises(AccessError):
        Target(submission, Access.SIMILARITY).embed(images)
    assert Target(submission, Access.EMBEDDING).embed(images).shape == (1, 16)
    with pytest.raises(AccessError):
        _ = Target(submission, Access.EMBEDDING).backbone
    assert isinstance(Target(submission, Access.WEIGHTS).backbone, nn.Module)
    with pytest.raises(AccessError):
        _ = Target(submission, Access.WEIGHTS).head
    assert torch.equal(Target(submission, Access.HEAD).head["weight"], torch.eye(16))


def test_a_head_that_was_not_handed_in_is_said_to_be_missing(tmp_path):
    with pytest.raises(AccessError, match="without its training head"):
        _ = Target(make_submission(tmp_path / "entry"), Access.HEAD).head


def test_the_backbone_is_frozen(submission):
    backbone = Target(submission, Access.WEIGHTS).backbone
    assert not backbone.training
    assert not any(p.requires_grad for p in backbone.parameters())


def test_bytes_and_fractions_are_the_same_photo(submission):
    photos = noise_photos(size=32)
    target = Target(submission, Access.EMBEDDING)
    torch.testing.assert_close(target.embed(photos.images), target.embed(photos.images.float() / 255))


def test_the_deployed_system_applies_its_transform(tmp_path):
    images = noise_photos(size=32).images
    plain = Target(make_submission(tmp_path / "plain"), Access.EMBEDDING).embed(images)
    signed = Target(make_submission(tmp_path / "sign", inference={"kind": "sign"}), Access.EMBEDDING).embed(images)
    assert torch.equal(signed, torch.where(plain < 0, -1.0, 1.0))


def test_noise_is_fresh_and_repeats_by_seed(tmp_path):
    images = noise_photos(size=32).images
    noisy = make_submission(tmp_path / "noisy", inference={"kind": "noise", "sigma": 0.5})
    first, again, other = (Target(noisy, Access.EMBEDDING, seed=seed) for seed in (0, 0, 1))
    one = first.embed(images)
    assert torch.equal(one, again.embed(images))
    assert not torch.equal(one, first.embed(images))
    assert not torch.equal(one, other.embed(images))


def test_an_unknown_transform_is_refused():
    with pytest.raises(FaceVeilError, match="Allowed kinds"):
        target_of(nn.Flatten(), inference={"kind": "blur"})


# Statistics estimated again


def recalibrating_net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        net[1].running_mean.normal_()
        net[1].running_var.uniform_(0.5, 2)
        net[1].momentum = 0.1
    return net


def test_recalibration_averages_the_statistics_of_public_photos():
    net, photos = recalibrating_net(), noise_photos(people=20)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    target = target_of(net)
    other = target.recalibrated(photos, batch=10)
    with torch.no_grad():
        batches = [net[0](photos.images[i : i + 10].float() / 127.5 - 1) for i in range(0, 40, 10)]
    mean = np.mean([b.mean((0, 2, 3)).numpy() for b in batches], axis=0)
    var = np.mean([b.var((0, 2, 3)).numpy() for b in batches], axis=0)
    np.testing.assert_allclose(other.backbone[1].running_mean, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(other.backbone[1].running_var, var, rtol=1e-4)
    assert torch.equal(other.backbone[0].weight, net[0].weight)
    assert not other.backbone.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()), "the target itself must not change"
    assert other.submission_id != target.submission_id
    assert other.submission_id != target.recalibrated(noise_photos(people=20, seed=1)).submission_id


def test_recalibration_undoes_noise_on_the_statistics():
    """Whatever is added to the statistics is forgotten: two releases of one backbone come out the same."""
    net, photos = recalibrating_net(), noise_photos(people=20)
    first = target_of(net).recalibrated(photos)
    net[1].running_mean += 3
    net[1].running_var *= 7
    second = target_of(net).recalibrated(photos)
    torch.testing.assert_close(first.embed(photos.images), second.embed(photos.images))


def test_recalibration_needs_the_weights_and_batchnorm():
    with pytest.raises(AccessError):
        target_of(recalibrating_net(), Access.EMBEDDING).recalibrated(noise_photos())
    with pytest.raises(NotApplicableError, match="no BatchNorm"):
        target_of(nn.Conv2d(3, 4, 3)).recalibrated(noise_photos())
