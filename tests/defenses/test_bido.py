from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.interfaces import DefenseSpec, FaceVeilError
from benchmark.protocol.registry import build_attack
from benchmark.training.composition import compose
from defenses.bido import BiDO, dependence, gaussian_kernel


def hsic(a: np.ndarray, b: np.ndarray) -> float:
    """The estimator as written: tr(K H L H) / (n - 1)^2."""
    n = len(a)
    centre = np.eye(n) - np.ones((n, n)) / n
    return float(np.trace(a @ centre @ b @ centre)) / (n - 1) ** 2


def test_dependence_is_normalised_hsic():
    x, z = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(0))
    a, b = gaussian_kernel(x), gaussian_kernel(z)
    assert a[0, 1].item() == pytest.approx(np.exp(-((x[0] - x[1]) ** 2).sum().item() / (2 * 25 * 5)), rel=1e-5)
    first, second = a.double().numpy(), b.double().numpy()
    wanted = hsic(first, second) / np.sqrt(hsic(first, first) * hsic(second, second))
    assert dependence(a.double(), b.double()).item() == pytest.approx(wanted, rel=1e-3)
    assert dependence(a, a).item() == pytest.approx(1, rel=1e-3)


def test_dependent_layers_score_above_independent_ones():
    x, noise = torch.randn(2, 200, 4, generator=torch.Generator().manual_seed(1))
    alone = dependence(gaussian_kernel(x), gaussian_kernel(noise))
    bound = dependence(gaussian_kernel(x), gaussian_kernel(x @ torch.randn(4, 4, generator=torch.Generator().manual_seed(2))))
    assert bound > alone + 0.3


def test_the_stages_are_watched_and_training_binds_them_to_people(make_trainer):
    ends = []
    for weight in (0.0, 20.0):
        defense = BiDO(lambda_x=0.0, lambda_y=weight)
        trainer = make_trainer(defense)
        assert defense.watched(trainer.backbone) == ["layer1", "layer2", "layer3", "layer4"]
        trainer.run()
        images, labels = trainer.batch(np.arange(30), 0)
        people = gaussian_kernel(torch.nn.functional.one_hot(labels, 5).float())
        ends.append(dependence(gaussian_kernel(trainer.backbone.eval()(images)), people).item())
    assert ends[1] > ends[0]


def test_it_is_refused_beside_private_training():
    with pytest.raises(FaceVeilError, match="couples"):
        compose([DefenseSpec(name="dp_sgd"), DefenseSpec(name="bido")])


def test_a_resumed_run_ends_in_the_same_weights(assert_resumes):
    assert_resumes(BiDO())


def test_the_adaptive_attacks_exist():
    names = [build_attack(spec).name for spec in BiDO().adaptive_attacks()]
    assert {"bn_distance", "regrown_head"} <= set(names)
