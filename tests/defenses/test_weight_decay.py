from __future__ import annotations

import torch

from benchmark.protocol.registry import build_attack
from defenses.undefended import Undefended
from defenses.weight_decay import WeightDecay


def test_the_optimiser_decays_matrices_by_the_setting_and_slopes_not_at_all(make_trainer):
    trainer = make_trainer(WeightDecay(decay=0.02))
    trainer.run(1)
    assert [group["weight_decay"] for group in trainer.optimizer.param_groups] == [0.02, 0.0]
    assert make_trainer(Undefended()).config.weight_decay == 5e-4


def test_the_weights_end_smaller(make_trainer):
    sizes = []
    for defense in (Undefended(), WeightDecay(decay=0.3)):
        trainer = make_trainer(defense)
        trainer.run()
        sizes.append(torch.cat([p.detach().flatten() for p in trainer.backbone.parameters() if p.dim() > 1]).norm())
    assert sizes[1] < 0.9 * sizes[0]


def test_a_resumed_run_ends_in_the_same_weights(assert_resumes):
    assert_resumes(WeightDecay())


def test_the_adaptive_attacks_exist():
    names = [build_attack(spec).name for spec in WeightDecay().adaptive_attacks()]
    assert {"bn_distance", "regrown_head"} <= set(names)
