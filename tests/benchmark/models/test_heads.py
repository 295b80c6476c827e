from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from benchmark.models.heads import AdaFace, build_head
from benchmark.protocol.track import HeadSpec

NAMES = ("softmax", "cosface", "arcface", "adaface")
MARGINS = ("cosface", "arcface", "adaface")


def head(name: str, margin: float = 0.3, classes: int = 7, size: int = 5, seed: int = 0):
    return build_head(HeadSpec(name=name, scale=32, margin=margin), size, classes, torch.Generator().manual_seed(seed))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 5, generator=generator) * 4, torch.randint(0, 7, (16,), generator=generator)


@pytest.mark.parametrize("name", NAMES)
def test_shapes_gradients_and_seed(name, batch):
    embeddings, labels = batch[0].clone().requires_grad_(), batch[1]
    layer = head(name)
    logits = layer(embeddings, labels)
    assert logits.shape == layer.cosine_logits(embeddings).shape == (16, 7)
    F.cross_entropy(logits, labels).backward()
    assert torch.isfinite(embeddings.grad).all()
    assert layer.weight.grad.abs().sum() > 0
    assert torch.equal(layer.weight, head(name).weight)
    assert not torch.equal(layer.weight, head(name, seed=1).weight)


def naive_angle(layer, embedding, centre) -> float:
    cosine = float(embedding @ centre / (embedding.norm() * centre.norm()))
    return math.acos(max(-1.0, min(1.0, cosine)))


@pytest.mark.parametrize("name", MARGINS)
def test_against_the_formula_of_the_paper(name, batch):
    embeddings, labels = batch
    layer = head(name).eval()
    logits = layer(embeddings, labels)
    for i in range(len(labels)):
        for c in range(7):
            theta = naive_angle(layer, embeddings[i], layer.weight[c].detach())
            expected = math.cos(theta)
            if c == labels[i]:
                if name == "cosface":
                    expected = math.cos(theta) - 0.3
                elif name == "arcface":
                    expected = math.cos(theta + 0.3) if theta + 0.3 < math.pi else math.cos(theta) - 0.3 * math.sin(0.3)
                else:
                    norm = float(embeddings[i].norm())
                    z = max(-1.0, min(1.0, 0.333 * (norm - 20) / 100.001))
                    expected = math.cos(min(math.pi, max(0.0, theta - 0.3 * z))) - (0.3 + 0.3 * z)
            assert logits[i, c].item() == pytest.approx(32 * expected, abs=2e-3)


@pytest.mark.parametrize("name", MARGINS)
def test_margin_lowers_the_label_alone(name, batch):
    embeddings, labels = batch
    layer = head(name).eval()
    change = layer(embeddings, labels) - layer.cosine_logits(embeddings)
    of_label = F.one_hot(labels, 7).bool()
    assert (change[of_label] < 0).all()
    assert (change[~of_label] == 0).all()


@pytest.mark.parametrize("name", ["cosface", "arcface"])
def test_no_margin_is_the_plain_cosine(name, batch):
    layer = head(name, margin=0.0)
    assert torch.allclose(layer(*batch), layer.cosine_logits(batch[0]), atol=1e-3)


def test_arcface_falls_all_the_way_to_the_opposite_and_stays_finite():
    layer = head("arcface", margin=0.5, classes=1, size=2)
    theta = torch.linspace(0, math.pi, 200)
    centre = F.normalize(layer.weight.detach())[0]
    across = torch.stack([-centre[1], centre[0]])
    embeddings = (theta.cos()[:, None] * centre + theta.sin()[:, None] * across).requires_grad_()
    logits = layer(embeddings, torch.zeros(200, dtype=torch.long))[:, 0]
    assert (logits.diff() <= 1e-3).all()
    logits.sum().backward()
    assert torch.isfinite(embeddings.grad).all()


def test_adaface_couples_samples_through_the_norms(batch):
    embeddings, labels = batch
    layer = head("adaface").train()
    assert AdaFace.couples_samples
    assert not head("arcface").couples_samples
    layer(embeddings, labels)
    assert layer.norm_mean.item() == pytest.approx(0.99 * 20 + 0.01 * embeddings.norm(dim=1).mean().item(), rel=1e-5)
    frozen = layer.norm_mean.item()
    layer.eval()(embeddings, labels)
    assert layer.norm_mean.item() == frozen


def test_logits_stay_float32_under_autocast(batch):
    with torch.autocast("cpu", torch.bfloat16):
        for name in NAMES:
            assert head(name)(batch[0].bfloat16(), batch[1]).dtype == torch.float32
