from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from photo_arrays import ArrayPhotos
from tiny_world import FLOW, World

from benchmark.data.populations import HELD_OUT, SEEN, Populations
from benchmark.evaluation.membership import score_metrics
from benchmark.evaluation.membership.blind_gate import LIMIT, THUMBNAIL, blind_gate, judge, thumbnails
from benchmark.evaluation.membership.scores import Scores
from benchmark.interfaces import AttackSpec, Contrast, FaceVeilError
from benchmark.training.build import make_untrained

ATTACKS = (
    AttackSpec(name="bn_distance"),
    AttackSpec(name="bn_distance", settings={"knowledge": "auxiliary"}),
    AttackSpec(name="regrown_head"),
)


class Changed:
    """Photos of which some were brightened, as by another camera."""

    def __init__(self, photos, chosen: np.ndarray, by: int) -> None:
        self._photos, self._chosen, self._by = photos, chosen, by
        self.identity, self.keys, self.digest = photos.identity, photos.keys, f"{photos.digest}-brighter-{by}"

    def __len__(self) -> int:
        return len(self._photos)

    def load(self, index) -> torch.Tensor:
        bright = torch.from_numpy(self._chosen[np.asarray(index)])[:, None, None, None]
        return (self._photos.load(index).int() + self._by * bright).clamp(0, 255).to(torch.uint8)

    def take(self, index):
        return Changed(self._photos.take(index), self._chosen[np.asarray(index)], self._by)


def shifted(populations: Populations, side: int, by: int) -> Populations:
    """The populations with photos of one side brightened."""
    chosen = populations.side == side
    whole = populations.source

    def source(pairs: np.ndarray, role: str):
        photos = whole(pairs, role)
        return Changed(photos, chosen, by) if role == "queried" else photos

    return replace(populations, source=source)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    roles = FLOW.roles.model_copy(update={"members": 60, "held_out": 60})
    return World(FLOW.model_copy(update={"roles": roles}), tmp_path_factory.mktemp("gate"))


def gate_of(world, populations, seed=0):
    blind = {"untrained": make_untrained(world.track, world.folder)}
    return blind_gate(populations, blind, ATTACKS, cache=world.folder / "signals", seed=seed)


def probe(gate, classifier: str, contrast: Contrast):
    (found,) = [p for p in gate.probes if p.classifier == classifier and p.contrast == contrast]
    return found


def test_one_distribution_passes(world):
    gate = gate_of(world, world.populations)
    assert gate.valid
    assert not any(p.invalid for p in gate.probes)
    names = {p.classifier for p in gate.probes}
    attacks = {"bn_distance on untrained", "regrown_head on untrained"}
    assert names == {"linear on pixels", "linear on untrained embedding"} | attacks
    assert len(gate.probes) == len(names) * len(Contrast)
    assert all("Bonferroni over 12" in p.auc.method for p in gate.probes)


def test_brighter_photos_of_held_out_people_are_found(world):
    gate = gate_of(world, shifted(world.populations, HELD_OUT, 40))
    assert not gate.valid
    for contrast in (Contrast.IDENTITY, Contrast.PAPER):
        found = probe(gate, "linear on pixels", contrast)
        assert found.invalid
        assert found.auc.value > 0.7
        assert found.auc.low > 0.5
    assert not probe(gate, "linear on pixels", Contrast.SAMPLE).invalid, "seen and unseen photos are alike"
    assert gate.best_auc(Contrast.IDENTITY) > 0.7


def test_brighter_seen_photos_are_found(world):
    """A seen photo that differs from an unseen one before any training: as where seen photos were picked for quality."""
    gate = gate_of(world, shifted(world.populations, SEEN, 40))
    assert not gate.valid
    assert probe(gate, "linear on pixels", Contrast.SAMPLE).invalid
    assert not probe(gate, "linear on pixels", Contrast.IDENTITY).invalid


def test_the_gate_repeats(world):
    assert gate_of(world, world.populations) == gate_of(world, world.populations)


def test_an_attack_that_does_not_apply_is_no_probe(world):
    """With one unseen photo a person, no centre can be grown for held-out people: that is no reason to fail the track."""
    roles = world.track.roles.model_copy(update={"unseen": 1})
    single = World(world.track.model_copy(update={"roles": roles}), world.folder / "single")
    gate = gate_of(single, single.populations)
    found = {(p.classifier, p.contrast) for p in gate.probes}
    assert ("regrown_head on untrained", Contrast.IDENTITY) not in found
    assert ("bn_distance on untrained", Contrast.IDENTITY) in found


# The verdict


def noise(rng: np.random.Generator, shift: float = 0.0, people: int = 60) -> Scores:
    """Two photos of each person on either side, people with an offset of their own."""
    identity = np.repeat(np.arange(people), 4)
    label = np.tile([1, 1, 0, 0], people)
    score = rng.standard_normal(people)[identity] + rng.standard_normal(4 * people) + shift * label
    return Scores(score, label, identity)


def test_nothing_to_judge_is_an_error():
    with pytest.raises(FaceVeilError, match="no probe"):
        judge({}, seed=0)


def test_false_alarms_stay_below_five_percent(monkeypatch):
    """40 gates of 6 blind probes without any signal: the number flagged is binomial with p at most 0.05."""
    monkeypatch.setattr(score_metrics, "REPLICATES", 200)  # a deviation needs fewer than an interval
    rng = np.random.default_rng(0)
    flagged = 0
    for run in range(40):
        scores = {(f"c{i}", Contrast.SAMPLE): noise(rng) for i in range(6)}
        flagged += not judge(scores, seed=run).valid
    assert flagged <= 7  # P(more) = 0.0007


def test_a_clear_signal_is_found_however_many_probes():
    rng = np.random.default_rng(1)
    scores = {(f"c{i}", Contrast.SAMPLE): noise(rng) for i in range(30)}
    scores["planted", Contrast.SAMPLE] = noise(rng, shift=1.5)
    gate = judge(scores, seed=0)
    assert [p.classifier for p in gate.probes if p.invalid] == ["planted"]


def test_more_probes_need_a_wider_interval():
    rng = np.random.default_rng(2)
    own = noise(rng, shift=0.3)
    widths = []
    for others in (0, 50):
        scores = {("own", Contrast.SAMPLE): own} | {(f"c{i}", Contrast.SAMPLE): noise(rng) for i in range(others)}
        auc = judge(scores, seed=0).probes[0].auc
        widths.append(auc.high - auc.low)
    # z at 0.05 / 2 and at 0.05 / 102
    assert widths[1] / widths[0] == pytest.approx(3.2968 / 1.9600, rel=0.01)


def test_a_certain_but_tiny_difference_is_let_pass():
    """Significant yet below the limit: with enough people anything is."""
    scores = noise(np.random.default_rng(3), shift=0.08, people=2000)
    (found,) = judge({("c", Contrast.SAMPLE): scores}, seed=0).probes
    assert 0.5 < found.auc.low < found.auc.value < LIMIT
    assert not found.invalid


def test_the_mixed_contrast_alone_does_not_fail_a_track():
    scores = {("c", Contrast.PAPER): noise(np.random.default_rng(4), shift=3.0)}
    gate = judge(scores, seed=0)
    assert gate.probes[0].invalid
    assert gate.valid


def test_a_reversed_classifier_is_no_alarm():
    """Below 0.5 a classifier fitted on other people found nothing that holds."""
    assert judge({("c", Contrast.SAMPLE): noise(np.random.default_rng(5), shift=-3.0)}, seed=0).valid


def test_thumbnails_are_block_means():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=generator)
    found = thumbnails(ArrayPhotos(images, np.arange(5)))
    blocks = images.double().numpy().reshape(5, 3, THUMBNAIL, 2, THUMBNAIL, 2).mean((3, 5))
    np.testing.assert_allclose(found, blocks.reshape(5, -1), rtol=1e-6)
