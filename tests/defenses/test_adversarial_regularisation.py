from __future__ import annotations

import numpy as np
import torch

from benchmark.protocol.registry import build_attack
from benchmark.runtime.seeding import weights_digest
from defenses.adversarial_regularisation import AdversarialRegularisation, Turned, untouched_statistics


def test_the_turned_gradient_has_the_other_sign():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    out = Turned.apply(x, 0.5)
    assert torch.equal(out, x)
    (3 * out).sum().backward()
    assert torch.equal(x.grad, torch.tensor([-1.5, -1.5]))


def test_public_photos_leave_no_trace_in_the_statistics(make_trainer, public):
    trainer = make_trainer(AdversarialRegularisation(), public=public)
    before = weights_digest(trainer.backbone.train())
    images = torch.rand(8, 3, 32, 32)
    expected = trainer.backbone.bn1(trainer.backbone.conv1(images))
    trainer.backbone.load_state_dict(make_trainer(AdversarialRegularisation(), public=public).backbone.state_dict())
    with untouched_statistics(trainer.backbone):
        found = trainer.backbone.bn1(trainer.backbone.conv1(images))
    torch.testing.assert_close(found, expected)
    assert weights_digest(trainer.backbone) == before
    assert trainer.backbone.bn1.track_running_stats


def test_the_classifier_learns_and_the_backbone_is_driven_against_it(make_trainer, public):
    """Against a backbone that does not resist, the classifier tells members from strangers better."""
    gaps = []
    for strength in (0.0, 30.0):
        defense = AdversarialRegularisation(strength=strength)
        trainer = make_trainer(defense, public=public)
        config = trainer.config.model_copy(update={"epochs": 12})
        trainer = make_trainer(defense, public=public, config=config)
        trainer.run()
        with torch.no_grad(), untouched_statistics(trainer.backbone):
            members = trainer.backbone(trainer.batch(np.arange(30), 0)[0])
            strangers = trainer.backbone(public.load(np.arange(30)).float().div(127.5).sub(1))
        tell = [
            trainer.extra["adversarial_regularisation"](torch.nn.functional.normalize(e)).mean() for e in (members, strangers)
        ]
        gaps.append((tell[0] - tell[1]).item())
    assert gaps[0] > 0
    assert gaps[1] < gaps[0]


def test_a_resumed_run_ends_in_the_same_weights(assert_resumes, public):
    assert_resumes(AdversarialRegularisation(), public=public)


def test_the_adaptive_attacks_exist():
    names = [build_attack(spec).name for spec in AdversarialRegularisation().adaptive_attacks()]
    assert {"bn_distance", "regrown_head"} <= set(names)
