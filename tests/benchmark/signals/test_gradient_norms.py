from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from photo_arrays import noise_photos, target_of
from torch import Tensor, nn

from benchmark.models.backbones import create
from benchmark.signals import gradient_norms as module
from benchmark.signals.answers import Embedding
from benchmark.signals.extraction import Reading, extract, measure
from benchmark.signals.gradient_norms import AgreementGradient, gradient_norms
from benchmark.signals.views import apply_view


class Everything(nn.Module):
    """One layer of each kind that has a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(3, 8, 3, 2, 1, bias=True), nn.BatchNorm2d(8)
        self.grouped, self.gn, self.prelu = nn.Conv2d(8, 8, 3, 1, 1, groups=4), nn.GroupNorm(2, 8), nn.PReLU(8)
        self.tokens, self.ln, self.fc = nn.Linear(8, 6), nn.LayerNorm(6), nn.Linear(6, 5)
        self.last = nn.BatchNorm1d(5)
        for norm in (self.bn, self.last):
            norm.running_mean.normal_(0, 0.3)
            norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv1(x))
        x = x + self.prelu(self.gn(self.grouped(x)))
        x = self.ln(self.tokens(x.flatten(2).mT))
        return self.last(self.fc(x.mean(1)))


def nets() -> dict[str, tuple[nn.Module, int]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = {
            "everything": (Everything(), 8),
            "iresnet": (create("iresnet_slim", {"width": 0.125, "embedding_size": 8, "input_size": [32, 32]}), 32),
            "mobilefacenet": (create("mobilefacenet", {"width": 0.25, "embedding_size": 8, "input_size": [32, 32]}), 32),
        }
    return {name: (net.double().eval(), size) for name, (net, size) in found.items()}


def naive(net: nn.Module, photo: Tensor, view: str) -> tuple[float, float]:
    """One photo alone, the gradient of every weight in full."""
    photo = photo[None].clone().requires_grad_(True)
    parameters = list(net.parameters())
    first, second = net(2 * photo - 1), net(2 * apply_view(view, photo) - 1)
    loss = 1 - F.cosine_similarity(first, second).sum()
    to_photo, *gradients = torch.autograd.grad(loss, [photo, *parameters])
    return float(to_photo.norm()), float(torch.cat([g.flatten() for g in gradients]).norm())


@pytest.mark.parametrize("name", ["everything", "iresnet", "mobilefacenet"])
@pytest.mark.parametrize("view", ["flip", "augment-1"])
def test_against_the_full_gradient_of_every_photo_alone(name, view, monkeypatch):
    net, size = nets()[name]
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", 2 * size * size)  # chunks of two
    images = noise_photos(people=5, each=1, size=size).images.double() / 255
    expected = [naive(net.requires_grad_(True), image, view) for image in images]
    found = gradient_norms(target_of(net, size=size), images, view, {"input", "weights"})
    for column, key in enumerate(("input", "weights")):
        values = torch.tensor([e[column] for e in expected], dtype=torch.float64)
        torch.testing.assert_close(found[key][:, 0], values, rtol=1e-6, atol=1e-10)


def test_both_come_from_one_pass_and_leave_nothing_behind():
    net = nets()["everything"][0].float()
    photos = noise_photos(people=4, size=8)
    requests = [AgreementGradient(of=g, view="flip") for g in ("input", "weights")]
    passed = []
    net.register_forward_pre_hook(lambda _m, args: passed.append(len(args[0])))
    found = extract(target_of(net), photos, requests)
    assert sum(passed) == 2 * len(photos)
    assert found[requests[0]].shape == found[requests[1]].shape == (8, 1)
    assert all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks for m in net.children())


def test_norms_carry_no_gradient_but_other_signals_do():
    net = nets()["everything"][0]
    images = (noise_photos(people=2, size=8).images.double() / 255).requires_grad_(True)
    requests = [AgreementGradient(of="input", view="flip"), Embedding()]
    norms, embeddings = measure(Reading(target_of(net), requests), images).values()
    assert {norms.requires_grad, embeddings.requires_grad} == {False, True}
