from __future__ import annotations

from benchmark.training.feeding import FeedingTimings, measure


def test_every_way_is_timed(tmp_path):
    found = measure(tmp_path, "iresnet_slim", batch=4, steps=2, loaders=0, records=48)
    assert min(found.reading, found.stepping, found.together) > 0
    assert (found.backbone, found.batch, found.loaders) == ("iresnet_slim", 4, 0)


def test_the_share_is_of_the_slower():
    assert FeedingTimings("b", 1, 0, reading=400.0, stepping=100.0, together=80.0).share == 0.8
    assert FeedingTimings("b", 1, 0, reading=50.0, stepping=100.0, together=40.0).share == 0.8
