from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from benchmark.interfaces import Access, DefenseSpec
from benchmark.signals.answers import Embedding
from benchmark.signals.extraction import extract
from benchmark.signals.layers import NormDistance
from benchmark.signals.target import Target
from defenses.embedding_quantisation import EmbeddingQuantisation


def entry(flow, **settings):
    label = "-".join(str(v) for v in settings.values())
    return flow.train(DefenseSpec(name="embedding_quantisation", settings=settings), name=f"quantised-{label}")


def returned(submission, flow) -> torch.Tensor:
    return Target(submission, Access.EMBEDDING).embed(flow.populations.verification.load(range(12)))


def test_signs_are_of_two_values(flow):
    assert set(returned(entry(flow, kind="sign"), flow).unique().tolist()) == {-1.0, 1.0}


def test_int8_embeddings_are_whole_multiples_of_one_step(flow):
    embeddings = returned(entry(flow, kind="int8"), flow)
    steps = embeddings / (embeddings.abs().amax(1, keepdim=True) / 127)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
    assert steps.abs().max() <= 127.001
    plain = returned(flow.submission, flow)
    assert not torch.equal(embeddings, plain)
    torch.testing.assert_close(embeddings, plain, rtol=0, atol=float(plain.abs().max()) / 254 * 1.01)


def test_top_k_keeps_the_k_largest(flow):
    embeddings, plain = returned(entry(flow, kind="top_k", k=5), flow), returned(flow.submission, flow)
    assert ((embeddings != 0).sum(1) == 5).all()
    kept = embeddings != 0
    assert torch.equal(embeddings[kept], plain[kept])
    assert (plain.abs().masked_fill(kept, 0).amax(1) <= plain.abs().masked_fill(~kept, np.inf).amin(1)).all()


def test_white_box_signals_bypass_it(flow):
    quantised = entry(flow, kind="sign")
    photos = flow.populations.verification.take(np.arange(6))
    requests = [Embedding(raw=True), NormDistance(statistic="mean")]
    for request in requests:
        mine, plain = (extract(Target(s, Access.WEIGHTS), photos, [request])[request] for s in (quantised, flow.submission))
        np.testing.assert_array_equal(mine, plain)
    deployed = Embedding()
    assert set(np.unique(extract(Target(quantised, Access.EMBEDDING), photos, [deployed])[deployed])) == {-1.0, 1.0}


def test_the_card_names_the_transform():
    assert EmbeddingQuantisation(kind="top_k", k=7).inference() == {"kind": "top_k", "k": 7}
    assert EmbeddingQuantisation(kind="int8").inference() == {"kind": "int8"}


@pytest.mark.parametrize("settings", [{"kind": "int4"}, {"k": 0}, {"k": -3}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        EmbeddingQuantisation(**settings)
