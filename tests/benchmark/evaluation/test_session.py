"""Train, then evaluate: what is attacked is what was hashed, defences and all."""

from __future__ import annotations

import pytest
import torch
from tiny_world import FLOW

from benchmark.evaluation.membership import scene
from benchmark.evaluation.session import Session
from benchmark.interfaces import AttackSpec, FaceVeilError
from benchmark.protocol.track import TrainingConfig
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

    def tasks(self, status):
        pass


@pytest.fixture
def session(fresh_home):
    return Session(variant(FLOW, {"shadows": 0, "population": 2}), None, "cpu", progress=Silent())


def test_the_model_that_is_attacked_is_the_one_that_was_hashed(session, tmp_path, monkeypatch):
    """Every stage of a composition is in the weights and the transform that attacks meet; nothing comes or goes after."""
    attacked = []

    class Seen(Target):
        def __init__(self, submission, *arguments, **options):
            super().__init__(submission, *arguments, **options)
            attacked.append(self)

    monkeypatch.setattr(scene, "Target", Seen)
    text, settings = "early_stopping+bn_perturbation+embedding_quantisation", {"bn_perturbation.rho": 0.5}
    trained = session.train(parse_defenses(text, settings), 0, tmp_path / "entry")
    specs = [AttackSpec(name="bn_distance"), AttackSpec(name="regrown_head")]
    before = session.outlook(load_submission(tmp_path / "entry"), specs)
    record = session.evaluate(load_submission(tmp_path / "entry"), specs)
    after = session.outlook(load_submission(tmp_path / "entry"), specs)
    steps = {"checks", "backbones 0, 1 read", "blind gate judged", "attack bn_distance", "attack regrown_head"}
    assert steps < {node.name for node in before}
    assert not any(node.cached for node in before)
    assert all(node.cached for node in after), "what was done is found again"

    assert {target.submission_id for target in attacked} == set(record.population)
    own = [target for target in attacked if target.submission_id == trained.submission_id]
    assert own
    for target in own:
        assert digest(target._backbone.state_dict()) == record.provenance.weights_sha256 == trained.weights_sha256
        answer = target.transform(torch.tensor([[0.3, -0.2]]))
        assert answer.tolist() == [[1.0, -1.0]]
    assert record.provenance.submission_id == trained.submission_id
    assert record.card.inference == {"kind": "sign"}

    plain = session.train(parse_defenses("early_stopping", {}), 0, tmp_path / "plain")
    changed = {n.rpartition(".")[2] for n, w in trained.weights.items() if not torch.equal(w, plain.weights[n])}
    assert changed == {"running_mean", "running_var"}, "the noise is in the statistics that attacks read"


def test_a_population_is_trained_once_and_kept(session, tmp_path):
    """What `prepare_all` trained is what `train` writes and what `evaluate` reads."""
    specs = parse_defenses("early_stopping", {})
    session.prepare_all([specs])
    steps = []
    session.progress.training = steps.append
    first = session.train(specs, 0, tmp_path / "first", card={"team": "us", "name": "ours"})
    second = session.train(specs, 1, tmp_path / "second", number=1)
    record = session.evaluate(first, [AttackSpec(name="embedding_norm")])
    assert not steps, "nothing was trained a second time"
    assert record.population == (first.submission_id, second.submission_id)
    assert (first.card.team, first.card.name, first.card.number, second.card.number) == ("us", "ours", 0, 1)
    assert record.board == "verified"


def test_a_number_beyond_the_population_is_refused(session, tmp_path):
    with pytest.raises(FaceVeilError, match="backbones 0 to 1"):
        session.train(parse_defenses("undefended", {}), 7, tmp_path / "entry", number=7)


def test_another_seed_is_a_backbone_of_its_own(session, tmp_path):
    plain, other = (session.train(parse_defenses("undefended", {}), seed, tmp_path / str(seed)) for seed in (0, 5))
    assert plain.submission_id != other.submission_id
    assert other.card.seed == 5
    record = session.evaluate(other, [AttackSpec(name="embedding_norm")])
    assert record.board == "verified"
    assert record.population[0] == other.submission_id


def test_a_track_that_always_starts_from_public_weights_is_evaluated(fresh_home, tmp_path):
    """The blind gate's backbone on public people starts from those weights, too: from scratch there is no schedule."""
    public = Session(variant(FLOW, {"shadows": 0, "population": 2}), None, "cpu", progress=Silent())
    init = public.train(parse_defenses("undefended", {}), 0, tmp_path / "public")
    track = variant(FLOW, {"population": 2}).model_copy(
        update={"name": "tiny-tuned", "needs_init": True, "fine_tuning": TrainingConfig(epochs=1, batch_size=12, lr=0.01)}
    )
    session = Session(track, None, "cpu", init=init, progress=Silent())
    session.prepare_all([parse_defenses("undefended", {})])
    trained = session.train(parse_defenses("undefended", {}), 0, tmp_path / "tuned")
    record = session.evaluate(trained, [AttackSpec(name="bn_distance"), AttackSpec(name="regrown_head")])
    asked = " ".join(probe.classifier for probe in record.gate.probes)
    assert "public backbone" in asked
    assert "initial weights" in asked
    assert {attack.status for attack in record.membership} == {"ok"}
