from __future__ import annotations

import math

import numpy as np
import pytest

from attacks.membership import regrown_head
from attacks.membership.regrown_head import RegrownHead, unit
from benchmark.interfaces import Access, AttackSpec, Contrast, DefenseSpec, NotApplicableError, Signals
from benchmark.membership import run_contrast
from benchmark.metrics import auc
from benchmark.registry import SettingsError, build_attack

PLANTED_AUC = 0.8  # measured on the overfitted world: 0.92


def signals_of(embeddings: np.ndarray, people: np.ndarray) -> Signals:
    return Signals({"embedding.identity": embeddings}, people)


def normalised(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(v * v for v in vector))
    return [v / length for v in vector]


def naive(embeddings: np.ndarray, people: np.ndarray, scale: float) -> list[float]:
    """The score by its definition, photo by photo: the person's centre leaves the photo out, other centres are whole."""
    rows = [normalised(row) for row in embeddings.tolist()]
    scores = []
    for photo, row in enumerate(rows):
        logits = {}
        for person in set(people.tolist()):
            own = [rows[i] for i in range(len(rows)) if people[i] == person and i != photo]
            centre = normalised([sum(column) for column in zip(*own, strict=True)])
            logits[person] = scale * sum(a * b for a, b in zip(row, centre, strict=True))
        mine = logits[int(people[photo])]
        scores.append(mine - math.log(sum(math.exp(v) for v in logits.values())))
    return scores


@pytest.mark.parametrize("scale", [1.0, 32.0])
def test_is_the_log_posterior_under_leave_one_out_centres(scale):
    rng = np.random.default_rng(0)
    people = np.array([7, 3, 3, 9, 7, 7, 9, 3, 9, 9])  # unsorted, different numbers of photos
    embeddings = rng.standard_normal((10, 5)) * rng.uniform(0.5, 4, (10, 1))
    found = RegrownHead(scale=scale).score(signals_of(embeddings, people))
    np.testing.assert_allclose(found, naive(embeddings, people, scale), rtol=1e-9)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    people, embeddings = np.repeat(np.arange(20), 3), rng.standard_normal((60, 8))
    whole = RegrownHead().score(signals_of(embeddings, people))
    monkeypatch.setattr(regrown_head, "BLOCK", 7)
    np.testing.assert_allclose(RegrownHead().score(signals_of(embeddings, people)), whole, rtol=1e-12)


def test_a_photo_does_not_vote_for_itself():
    """Embeddings without any person in them: were a photo part of its own centre, every photo would look like its person's."""
    rng = np.random.default_rng(2)
    people, embeddings = np.repeat(np.arange(200), 2), rng.standard_normal((400, 64))
    found = RegrownHead(scale=1.0).score(signals_of(embeddings, people))
    cosine = found + math.log(200)  # at scale 1 the normaliser is nearly that of 200 equal logits
    assert abs(cosine.mean()) < 0.05


def test_photos_near_their_centre_score_higher():
    rng = np.random.default_rng(3)
    people = np.repeat(np.arange(50), 6)
    seen = np.tile([1, 1, 1, 0, 0, 0], 50)
    centres = rng.standard_normal((50, 16))
    spread = np.where(seen == 1, 0.3, 1.2)[:, None]
    embeddings = centres[people] + spread * rng.standard_normal((300, 16))
    assert auc(RegrownHead().score(signals_of(embeddings, people)), seen) > 0.9


def test_who_is_who_matters(tiny):
    """On the overfitted backbone the leak is in the gallery: with people mixed up, the score finds less."""
    spec = AttackSpec(name="regrown_head")
    evidence = tiny.evidence([spec])
    true = run_contrast(spec, evidence, Contrast.SAMPLE)
    index = evidence.sides(Contrast.SAMPLE, labelled=False)
    mixed = Signals(
        {k: v[index] for k, v in evidence.signals.values.items()},
        np.random.default_rng(0).permutation(evidence.identity[index]),
    )
    assert auc(true.score, true.label) > auc(build_attack(spec).score(mixed), true.label) + 0.1


def test_one_photo_of_a_person_is_not_applicable():
    people = np.array([0, 0, 1, 2, 2])
    with pytest.raises(NotApplicableError, match="1 of 3 people have one photo only"):
        RegrownHead().score(signals_of(np.eye(5), people))


def test_needs_neither_labels_nor_shadows():
    assert RegrownHead().settings() == {"knowledge": "none", "scale": 32.0, "statistics": "stored"}
    with pytest.raises(SettingsError, match="knowledge"):
        build_attack(AttackSpec(name="regrown_head", settings={"knowledge": "partial"}))


def test_unit_keeps_zero_rows():
    rows = unit(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0]])


def test_repairing_the_statistics_undoes_their_perturbation(flow):
    """Under noised statistics the repaired attack scores as on the clean model, and the plain one does not."""
    plain, repaired = RegrownHead(), RegrownHead(statistics="auxiliary")
    assert plain.required_access() == Access.EMBEDDING
    assert repaired.required_access() == Access.WEIGHTS
    specs = [AttackSpec(name="regrown_head"), AttackSpec(name="regrown_head", settings={"statistics": "auxiliary"})]
    noised = flow.train(DefenseSpec(name="bn_perturbation", settings={"rho": 1.0}), name="regrown-noised")
    clean, perturbed = flow.evidence(specs), flow.evidence(specs, noised)
    difference = [np.abs(a.score(clean.signals) - a.score(perturbed.signals)).max() for a in (plain, repaired)]
    assert difference[0] > 0.1
    assert difference[1] < 1e-4
