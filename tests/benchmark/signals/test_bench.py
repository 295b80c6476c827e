from __future__ import annotations

import pytest
import torch

from benchmark.signals.answers import Embedding
from benchmark.signals.bench import NoisePhotos, growth, measure_signals, servable, untrained_target
from benchmark.signals.extraction import passes
from benchmark.signals.gradient_norms import AgreementGradient
from benchmark.signals.head import HeadOutput
from benchmark.signals.layers import NormDistance
from benchmark.signals.part_responses import PartResponses

REQUESTS = [
    Embedding(),
    NormDistance(statistic="mean"),
    NormDistance(statistic="mean", reference="auxiliary"),
    Embedding(view="flip"),
    PartResponses(parts=4),
    AgreementGradient(of="weights", view="blur"),
    HeadOutput(statistic="loss"),
]


@pytest.fixture(scope="module")
def target():
    return untrained_target("iresnet_slim", 32, "cpu")


def test_signals_that_need_more_than_the_backbone_are_left_out(target):
    assert servable(target, REQUESTS) == [
        r for r in REQUESTS if not isinstance(r, HeadOutput) and r.compared_with != "auxiliary"
    ]


def test_plain_passes_are_as_many_as_the_signals_need(target):
    shown = []
    handle = target.backbone.conv1.register_forward_pre_hook(lambda _m, args: shown.append(len(args[0])))
    timings, union = measure_signals(target, REQUESTS, photos=8, rounds=2)
    handle.remove()
    plain_and_bn, both = 3 * 8, 2 * passes(union) * 8
    # an empty photo and an empty part to see whether there is a map, one to find where parts end; three rounds, the first of
    # which warms up
    assert sum(shown) == 3 * (plain_and_bn + both) + 2 + 1
    assert [t.beside for t in timings] == ["plain pass"] * 4 + ["plain passes of the union"]
    assert timings[0].relative == 1
    assert all(t.seconds > 0 for t in timings)
    assert not any(p.requires_grad for p in target.backbone.parameters())


def test_ten_times_the_photos_are_streamed(target):
    grown = growth(target, REQUESTS[:2], photos=16)
    assert grown.photos == 16
    assert grown.time_ratio > 1
    assert grown.peak_few_mb >= 0
    assert grown.peak_many_mb < grown.peak_few_mb + 50, "nothing grows with the number of photos"


def test_photos_are_drawn_when_loaded_and_repeat():
    photos = NoisePhotos(12, 8)
    assert torch.equal(photos.load([3, 4]), photos.load([3, 4]))
    assert photos.load([3, 4]).shape == (2, 3, 8, 8)
