from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmark.interfaces import DefenseSpec, NotApplicableError
from benchmark.submissions.card import CanaryNote
from benchmark.training.order import cuts, last_batches, remembered


def altered(submission, **fields):
    return replace(submission, card=submission.card.model_copy(update=fields))


def test_the_last_epoch_is_that_of_the_training(flow, monkeypatch, tmp_path):
    """What the trainer really drew, against what is worked out from the card."""
    from benchmark.training.loop import Trainer

    drawn = []
    ready = Trainer._ready

    def watched(self, images, index, epoch):
        drawn.append((epoch, index))
        return ready(self, images, index, epoch)

    monkeypatch.setattr(Trainer, "_ready", watched)
    submission = replace(flow, folder=tmp_path).train(name="watched", seed=3)
    last = max(epoch for epoch, _ in drawn)
    trained = [index.tolist() for epoch, index in drawn if epoch == last]
    found = [index.tolist() for index in last_batches(submission, flow.populations)]
    assert found == trained
    assert sorted(np.concatenate(found)) == list(range(len(flow.populations.seen)))
    assert last_batches(altered(submission, seed=4), flow.populations)[0].tolist() != found[0]


def test_orders_that_nobody_knows_are_refused_with_the_reason(flow):
    cases = {
        "is not known here": {"defenses": (DefenseSpec(name="elsewhere"),)},
        "owns the training loop": {"defenses": (DefenseSpec(name="early_stopping"),)},
        "canaries": {"canaries": CanaryNote(unit="photo", kind="blank", count=3)},
        "for how many epochs": {"training": {}},
    }
    for reason, fields in cases.items():
        with pytest.raises(NotApplicableError, match=reason):
            last_batches(altered(flow.submission, **fields), flow.populations)


def test_cuts_and_what_statistics_remember():
    assert cuts(32) == [8, 16, 28]
    assert cuts(8) == [2, 4]
    assert cuts(2) == [1]
    assert cuts(1) == []
    assert remembered(28) == pytest.approx(0.948, abs=0.001)
    statistic, share = 0.0, 0.0
    for batch in range(100):  # a running mean, with a share of 1 for every one of the last seven batches
        statistic = 0.9 * statistic + 0.1 * 1
        share = 0.9 * share + 0.1 * (batch >= 93)
    assert share / statistic == pytest.approx(remembered(7), abs=1e-4)
