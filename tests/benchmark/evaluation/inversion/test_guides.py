"""Membership attacks as guides of an inversion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.data.populations import SEEN, UNSEEN
from benchmark.evaluation.inversion.guides import Guides
from benchmark.evaluation.membership.scores import training_signals
from benchmark.interfaces import Access, AttackSpec, Contrast, NotApplicableError
from benchmark.protocol.registry import build_attack
from benchmark.signals.target import Target


@pytest.fixture(scope="module")
def guides(flow):
    target = Target(flow.submission, Access.WEIGHTS)
    return Guides(target, flow.populations, flow.shadows, flow.folder / "signals")


@pytest.mark.parametrize("settings", [{}, {"statistic": "mean_var"}, {"knowledge": "auxiliary"}, {"statistics": "auxiliary"}])
def test_the_guide_says_what_the_attack_scores(flow, guides, settings):
    """The same photos through the differentiable path and through the attack as it is evaluated."""
    spec = AttackSpec(name="bn_distance", settings=settings)
    evidence = flow.evidence([spec])
    attack = build_attack(spec)
    attack.fit(*training_signals(attack, evidence, Contrast.PAPER))
    rows = np.flatnonzero(np.isin(flow.populations.side, (SEEN, UNSEEN)))[:10]
    expected = attack.score(evidence.signals.take(rows))
    found = guides(spec)(flow.populations.queried.load(rows).float().div(255))
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=2e-3, atol=2e-3)


def test_gradients_reach_the_images(flow, guides):
    images = flow.populations.queried.load(range(3)).float().div(255).requires_grad_(True)
    guides(AttackSpec(name="bn_distance"))(images).sum().backward()
    assert torch.isfinite(images.grad).all()
    assert (images.grad.flatten(1).norm(dim=1) > 0).all()


def test_an_attack_without_a_differentiable_score_is_not_applicable(guides):
    with pytest.raises(NotApplicableError, match="no differentiable score"):
        guides(AttackSpec(name="regrown_head"))
