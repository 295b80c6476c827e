"""Signatures: the same for a copy, whatever was done to hide it, and another for weights of one's own."""

from __future__ import annotations

import hashlib

import pytest
import torch
from submission_factory import make_backbone
from torch import Tensor, nn

from benchmark.protocol.track import InputSpec
from benchmark.submissions.probes import probe_pictures, signature
from benchmark.submissions.signatures import distance, distances

SPEC = InputSpec(size=(32, 32))


class Turned(nn.Module):
    """Embeddings rotated, scaled and shifted: no utility is lost, and no byte is the same."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.rotation = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0)))[0]

    def forward(self, images: Tensor) -> Tensor:
        return 3 * self.backbone(images) @ self.rotation + 0.5


def noisy(share: float) -> nn.Module:
    backbone, generator = make_backbone(0), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += share * parameter.std(unbiased=False) * torch.randn(parameter.shape, generator=generator)
    return backbone


def test_the_pictures_never_change() -> None:
    pictures = probe_pictures()
    assert pictures.shape == (32, 3, 112, 112)
    assert (
        hashlib.sha256(pictures.numpy().tobytes()).hexdigest()
        == "e85ba0f641686d47dc486a295084987a43516a5fa63c42a6b7c077cf023d61e9"
    )


@pytest.mark.parametrize(
    ("copy", "most"),
    [(make_backbone(0), 0.0), (Turned(make_backbone(0)), 0.01), (noisy(1e-3), 0.02), (noisy(0.02), 0.3)],
    ids=["same", "turned", "a little noise", "more noise"],
)
def test_a_copy_is_near(copy: nn.Module, most: float) -> None:
    assert distance(signature(make_backbone(0), SPEC), signature(copy, SPEC)) <= most


def test_weights_of_ones_own_are_far() -> None:
    signatures = [signature(make_backbone(seed), SPEC) for seed in range(5)]
    assert min(distances(signatures[0], signatures[1:])) > 1
    assert len(signatures[0]) == 4 * ((2 * 32 * 31 // 2 + 2) // 3)
