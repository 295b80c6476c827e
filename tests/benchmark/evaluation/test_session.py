"""Train, then evaluate: what is attacked is what was hashed, defences and all."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_world import FLOW

from benchmark.evaluation import standard
from benchmark.evaluation.session import Session
from benchmark.interfaces import AttackSpec
from benchmark.protocol.variants import variant
from benchmark.signals.target import Target
from benchmark.submissions.submission import load_submission
from benchmark.submissions.tensor_file import digest
from benchmark.training.composition import parse_defenses


class Silent:
    def step(self, text):
        pass

    def training(self, report):
        pass


@pytest.fixture
def session(fresh_home):
    return Session(variant(FLOW, {"shadows": 0}), None, "cpu", progress=Silent())


def test_the_model_that_is_attacked_is_the_one_that_was_hashed(session, tmp_path, monkeypatch):
    """Every stage of a composition is in the weights and the transform that attacks meet; nothing comes or goes after."""
    attacked = []

    class Seen(Target):
        def __init__(self, submission, *arguments, **options):
            super().__init__(submission, *arguments, **options)
            attacked.append(self)

    monkeypatch.setattr(standard, "Target", Seen)
    text, settings = "early_stopping+bn_perturbation+embedding_quantisation", {"bn_perturbation.rho": 0.5}
    trained = session.train(parse_defenses(text, settings), 0, tmp_path / "entry")
    record = session.evaluate(
        load_submission(tmp_path / "entry"), [AttackSpec(name="bn_distance"), AttackSpec(name="regrown_head")]
    )

    assert attacked
    for target in attacked:
        assert digest(target._backbone.state_dict()) == record.provenance.weights_sha256 == trained.weights_sha256
        answer = target.transform(torch.tensor([[0.3, -0.2]]))
        assert answer.tolist() == [[1.0, -1.0]]
    assert record.provenance.submission_id == trained.submission_id
    assert record.card.inference == {"kind": "sign"}

    plain = session.train(parse_defenses("early_stopping", {}), 0, tmp_path / "plain")
    changed = {n.rpartition(".")[2] for n, w in trained.weights.items() if not torch.equal(w, plain.weights[n])}
    assert changed == {"running_mean", "running_var"}, "the noise is in the statistics that attacks read"


def test_weights_that_were_changed_after_training_are_not_verified(session, tmp_path):
    submission = session.train(parse_defenses("undefended", {}), 0, tmp_path / "entry")
    weights = submission.weights | {"fc.bias": submission.weights["fc.bias"] + 1}
    record = session.evaluate(replace(submission, weights=weights), [AttackSpec(name="embedding_norm")])
    assert record.board == "weights"
