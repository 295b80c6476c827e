"""Each kind of signal is one class, found through one table; the keys under which signals are cached do not move."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from photo_arrays import noise_photos, target_of
from torch import nn

from benchmark.interfaces import Access, SignalRequest
from benchmark.signals import kinds
from benchmark.signals.extraction import HeadClasses, extract, passes
from benchmark.signals.kind import Look, SignalKind

# each request with the key that caches hold it under, and the images a photo that it sends through the backbone
REQUESTS = [
    (SignalRequest(layers="pixels"), "pixels.value.identity", 0),
    (SignalRequest(layers="similarity"), "similarity.value.identity", 1),
    (SignalRequest(layers="embedding"), "embedding.identity", 1),
    (SignalRequest(layers="embedding", raw=True, view="flip"), "raw_embedding.flip", 1),
    (SignalRequest(layers="norm", statistic="mean"), "norm.mean.stored.identity", 1),
    (SignalRequest(layers="activations", statistic="mean_std"), "activations.mean_std.identity", 1),
    (SignalRequest(layers="map", statistic="crops", crops=4), "map.4", 5),
    (SignalRequest(layers="head", statistic="loss"), "head.loss.identity", 1),
    (SignalRequest(layers="embedding", gradients="weights", view="blur"), "gradient.weights.blur", 2),
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
    if request_.layers == "map":
        return  # its parts stop at the map: tests of part responses count them
    photos = noise_photos(people=3)
    net = Counting().eval()
    target = target_of(net, Access.HEAD, head={"weight": torch.ones(3, 3)})
    extract(target, photos, [request_], head=HeadClasses(np.arange(3), 1.0))
    assert net.passed == each * len(photos)


def test_every_layer_that_can_be_requested_has_a_kind():
    assert {*get_args(SignalRequest.model_fields["layers"].annotation), "gradients"} == {*kinds.KINDS, "own"}


def test_a_kind_is_one_class_and_one_entry_of_the_table(monkeypatch):
    class Brightness(SignalKind):
        reads_pass = False
        needs_floats = True

        def passes(self, request):
            return {}

        def measure(self, look: Look, requests):
            return {r.key: look.images.mean((1, 2, 3))[:, None] for r in requests}

    monkeypatch.setitem(kinds.KINDS, "pixels", Brightness())
    photos, request = noise_photos(people=3), REQUESTS[0][0]
    net = Counting().eval()
    found = extract(target_of(net), photos, [request])[request]
    np.testing.assert_allclose(found[:, 0], photos.images.float().div(255).mean((1, 2, 3)), rtol=1e-5)
    assert net.passed == 0
