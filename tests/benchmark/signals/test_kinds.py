"""Each kind of signal is one file, found by the requests that it serves; the keys of cached signals do not move."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from photo_arrays import noise_photos, target_of
from torch import nn

from benchmark.interfaces import Access, FaceVeilError, SignalRequest
from benchmark.signals import kind
from benchmark.signals.answers import Embedding, Similarity
from benchmark.signals.extraction import HeadClasses, extract, passes
from benchmark.signals.gradient_norms import AgreementGradient
from benchmark.signals.head import HeadOutput
from benchmark.signals.kind import Look, SignalKind, kind_of
from benchmark.signals.layers import ChannelMeans, NormDistance
from benchmark.signals.part_responses import PartResponses
from benchmark.signals.pixels import Pixels

# each request with the key that caches hold it under, and the images a photo that it sends through the backbone
REQUESTS = [
    (Pixels(), "pixels.value.identity", 0),
    (Similarity(), "similarity.value.identity", 1),
    (Embedding(), "embedding.identity", 1),
    (Embedding(raw=True, view="flip"), "raw_embedding.flip", 1),
    (NormDistance(statistic="mean"), "norm.mean.stored.identity", 1),
    (ChannelMeans(statistic="mean_std"), "activations.mean_std.identity", 1),
    (PartResponses(parts=4), "map.4", 5),
    (HeadOutput(statistic="loss"), "head.loss.identity", 1),
    (AgreementGradient(of="weights", view="blur"), "gradient.weights.blur", 2),
]


class Counting(nn.Module):
    """A small network that counts the images that pass its first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.passed = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passed += len(x)
        return self.fc(self.norm(self.conv(x)).mean((2, 3)))


@pytest.mark.parametrize(("request_", "key", "each"), REQUESTS, ids=[key for _, key, _ in REQUESTS])
def test_keys_and_costs(request_, key, each):
    assert request_.key == key
    assert passes([request_]) == each
    if isinstance(request_, PartResponses):
        return  # its parts stop at the map: tests of part responses count them
    photos = noise_photos(people=3)
    net = Counting().eval()
    target = target_of(net, Access.HEAD, head={"weight": torch.ones(3, 3)})
    extract(target, photos, [request_], head=HeadClasses(np.arange(3), 1.0))
    assert net.passed == each * len(photos)


def test_a_kind_is_found_by_the_requests_it_serves_and_needs_no_table(monkeypatch):
    monkeypatch.setattr(kind, "KINDS", dict(kind.KINDS))

    class Brightness(SignalRequest):
        access: ClassVar[Access] = Access.SIMILARITY
        key: ClassVar[str] = "brightness"

    class BrightnessKind(SignalKind[Brightness]):
        serves = (Brightness,)
        reads_pass = False
        needs_floats = True

        def passes(self, request):
            return {}

        def measure(self, look: Look, requests):
            return {r.key: look.images.mean((1, 2, 3))[:, None] for r in requests}

    photos, request = noise_photos(people=3), Brightness()
    net = Counting().eval()
    found = extract(target_of(net), photos, [request])[request]
    np.testing.assert_allclose(found[:, 0], photos.images.float().div(255).mean((1, 2, 3)), rtol=1e-5)
    assert net.passed == 0


def test_a_request_that_nobody_serves_is_named():
    class Orphan(SignalRequest):
        pass

    with pytest.raises(FaceVeilError, match="no SignalKind serves Orphan"):
        kind_of(Orphan())
