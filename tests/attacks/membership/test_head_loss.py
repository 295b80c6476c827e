from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attacks.membership.head_loss import LOSS, HeadLoss
from benchmark.evaluation.membership.summary import run_attack
from benchmark.interfaces import Access, AttackSpec, Contrast, NotApplicableError, Signals


def test_finds_what_an_independent_toolbox_finds():
    """adversarial-robustness-toolbox's black-box attack on the loss: a decision tree on the same cross entropies."""
    pytest.importorskip("art", reason="needs adversarial-robustness-toolbox")
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBox
    from art.estimators.classification import PyTorchClassifier

    rng = np.random.default_rng(0)
    member = np.tile([1, 0], 400)
    classes = rng.integers(0, 10, 800)
    logits = rng.standard_normal((800, 10)).astype(np.float32)
    logits[np.arange(800), classes] += np.where(member == 1, 4, 1)
    losses = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(classes), reduction="none").numpy()
    ours = HeadLoss().score(Signals({LOSS.key: losses[:, None]}, np.arange(800)))

    classifier = PyTorchClassifier(nn.Identity(), loss=nn.CrossEntropyLoss(), input_shape=(10,), nb_classes=10)
    attack = MembershipInferenceBlackBox(classifier, input_type="loss", attack_model_type="dt")
    known = np.arange(800) < 400
    inside, outside = known & (member == 1), known & (member == 0)
    attack.fit(logits[inside], classes[inside], logits[outside], classes[outside])
    theirs = (np.ravel(attack.infer(logits[~known], classes[~known])) == member[~known]).mean()
    best = max(((ours[~known] >= t) == member[~known]).mean() for t in ours[~known])
    assert theirs > 0.7
    assert best >= theirs - 0.01


def test_the_head_is_a_reference_with_more_access(tiny):
    spec = AttackSpec(name="head_loss")
    result, _ = run_attack(spec, tiny.evidence([spec]), adaptive=False, blind={}, seed=0)
    assert result.access == Access.HEAD
    assert set(result.contrasts) == {Contrast.SAMPLE}


def test_people_without_a_class_are_not_scored():
    with pytest.raises(NotApplicableError, match="no class for the people of 1 photos"):
        HeadLoss().score(Signals({LOSS.key: np.array([[0.1], [np.nan]])}, np.arange(2)))


def test_a_small_loss_is_a_member():
    assert HeadLoss().score(Signals({LOSS.key: np.array([[0.1], [2.0]])}, np.arange(2))).tolist() == [-0.1, -2.0]
