from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from benchmark.interfaces import Access, DefenseSpec
from benchmark.protocol.registry import build_attack
from benchmark.signals.extraction import extract
from benchmark.signals.target import Target
from defenses.embedding_noise import QUERIES, EmbeddingNoise


@pytest.fixture(scope="module")
def noisy(flow):
    return flow.train(DefenseSpec(name="embedding_noise", settings={"sigma": 0.5}), name="noisy")


def test_what_is_returned_is_noisy_afresh_at_every_query(noisy, flow):
    target = Target(noisy, Access.EMBEDDING)
    images = flow.populations.verification.load(range(8))
    first, second = target.embed(images), target.embed(images)
    assert not torch.equal(first, second)
    clean = torch.nn.functional.normalize(Target(flow.submission, Access.EMBEDDING).embed(images))
    assert float((first - clean).norm(dim=1).mean()) == pytest.approx(0.5, abs=0.15)


def test_who_holds_the_weights_bypasses_it(noisy, flow):
    assert noisy.weights_sha256 == flow.submission.weights_sha256
    assert noisy.submission_id != flow.submission.submission_id
    images = flow.populations.verification.load(range(4)).float() / 127.5 - 1
    target, plain = Target(noisy, Access.WEIGHTS), Target(flow.submission, Access.WEIGHTS)
    assert torch.equal(target.backbone(images), plain.backbone(images))


def test_the_attacks_leave_it_out_or_average_it_away(noisy, flow):
    attacks = [build_attack(spec) for spec in EmbeddingNoise().adaptive_attacks() if spec.name == "regrown_head"]
    assert {(a.raw, a.queries > 1) for a in attacks} == {(True, False), (False, True)}
    photos = flow.populations.verification.take(np.arange(8))
    (averaged,) = next(a for a in attacks if a.queries > 1).requests()
    once = averaged.model_copy(update={"queries": 1})
    target = Target(noisy, Access.WEIGHTS)
    signals = extract(target, photos, [averaged, once])
    clean = torch.nn.functional.normalize(target.backbone(photos.load(range(8)).float() / 127.5 - 1)).numpy()
    far = {r.queries: float(np.linalg.norm(signals[r] - clean, axis=1).mean()) for r in (averaged, once)}
    assert far[QUERIES] < 0.5 * far[1]


@pytest.mark.parametrize("sigma", [0, -0.1, 11, float("nan")])
def test_strengths_out_of_range_are_refused(sigma):
    with pytest.raises(ValidationError, match="sigma"):
        EmbeddingNoise(sigma=sigma)
