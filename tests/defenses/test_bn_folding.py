from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from benchmark.data.populations import SEEN
from benchmark.interfaces import DefenseSpec, FaceVeilError
from benchmark.models.backbones import create
from benchmark.models.normalisation import batchnorms
from benchmark.runtime.seeding import weights_digest
from benchmark.submissions.submission import load_submission
from benchmark.submissions.validation import validate
from benchmark.training.build import make_submission
from benchmark.training.shadows import ShadowPool
from defenses.bn_folding import BNFolding

FOLDING = DefenseSpec(name="bn_folding")


def test_embeds_as_before_and_has_no_batchnorm(trained, context, photos):
    before = weights_digest(trained)
    folded = BNFolding().release(trained, context())
    assert weights_digest(trained) == before
    assert batchnorms(trained)
    assert not batchnorms(folded)
    assert not [name for name, _ in folded.named_buffers()]
    images = photos.load(range(8)).float() / 127.5 - 1
    with torch.inference_mode():
        wanted, found = trained(images), folded(images)
    assert (found - wanted).norm(dim=1).max() < 1e-4 * wanted.norm(dim=1).mean()


def test_the_submission_can_be_read_again_and_answers_alike(flow, tmp_path):
    submission = flow.train(FOLDING, name="folded")
    card = submission.card
    assert card.backbone.kwargs["norm"] == "folded"
    assert card.norm == "none"
    assert validate(submission.path).ok
    again = load_submission(submission.path)
    images = flow.populations.verification.load(range(4)).float() / 127.5 - 1
    with torch.inference_mode():
        folded, plain = again.backbone()(images), flow.submission.backbone()(images)
    assert (folded - plain).norm(dim=1).max() < 1e-4 * plain.norm(dim=1).mean()


def test_its_shadows_are_trained_unfolded_and_folded_after(flow):
    card = flow.train(FOLDING, name="folded").card
    (shadow,) = ShadowPool(flow.populations, flow.folder / "shadows").auxiliary(card.defenses, card.backbone)
    (plain,) = flow.shadows()
    assert shadow.submission.card.training["base_submission"] == plain.submission.submission_id
    assert shadow.submission.card.backbone == card.backbone
    assert (shadow.side == SEEN).any()


class Crossed(nn.Module):
    """Defined in another order than it is wired: its BatchNorm sees the input, not the convolution's output."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.conv(self.bn(x)).mean((2, 3))


def test_an_architecture_that_cannot_be_folded_is_refused(context):
    crossed = Crossed().eval()
    crossed.bn.running_mean.fill_(1.0)
    with pytest.raises(FaceVeilError, match="would change the embeddings"):
        BNFolding().release(copy.deepcopy(crossed), context())


def test_a_folded_architecture_is_not_trained(flow, tmp_path):
    backbone = BNFolding().released_spec(flow.track.backbone)
    with pytest.raises(FaceVeilError, match="norm=folded is what bn_folding releases"):
        make_submission(
            flow.populations,
            DefenseSpec(name="undefended"),
            flow.populations.seen,
            seed=0,
            out=tmp_path / "a",
            work=tmp_path,
            backbone=backbone,
        )
    assert create(backbone.name, {**backbone.kwargs, "input_size": [32, 32]})
