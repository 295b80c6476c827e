from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from photo_arrays import ArrayPhotos
from tiny_world import FLOW, World

from benchmark.data.populations import HELD_OUT, SEEN, Populations
from benchmark.evaluation.membership import blind_gate, score_metrics
from benchmark.evaluation.membership.blind_gate import LIMIT, THUMBNAIL, BlindGate, judge, thumbnails
from benchmark.evaluation.membership.pooling import Scores
from benchmark.evaluation.membership.score_metrics import auc_estimate
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
        self.identity, self.keys = photos.identity, photos.keys
        self.digest = f"{photos.digest}-brighter-{by}-{np.flatnonzero(chosen).sum()}"

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
    roles = FLOW.roles.model_copy(update={"pool": 120})
    return World(FLOW.model_copy(update={"roles": roles}), tmp_path_factory.mktemp("gate"))


def gate_of(world, populations, numbers=(0,), attacks=ATTACKS, folder=None):
    blind = {"untrained": make_untrained(world.track, world.folder)}
    with TemporaryDirectory() as own:
        gate = BlindGate(populations, blind, numbers, folder or Path(own), world.folder / "signals")
        return gate.run(attacks)


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


def test_a_contrast_that_can_be_told_is_out_and_the_other_stays(world):
    """Photos of held-out people as by another camera: the identity contrast is out, the sample contrast still ranks."""
    gate = gate_of(world, shifted(world.populations, HELD_OUT, 40))
    for contrast in (Contrast.IDENTITY, Contrast.PAPER):
        found = probe(gate, "linear on pixels", contrast)
        assert found.invalid
        assert found.auc.value > 0.7
        assert found.auc.low > 0.5
        assert not gate.passes(contrast)
    assert gate.passes(Contrast.SAMPLE), "seen and unseen photos are alike"
    assert gate.valid
    assert gate.best_auc(Contrast.IDENTITY) > 0.7


def test_brighter_seen_photos_are_found(world):
    """A seen photo that differs from an unseen one before any training: as where seen photos were picked for quality."""
    gate = gate_of(world, shifted(world.populations, SEEN, 40))
    assert not gate.passes(Contrast.SAMPLE)
    assert gate.passes(Contrast.IDENTITY)
    assert gate.valid


def test_where_every_contrast_can_be_told_nothing_is_left(world):
    both = shifted(shifted(world.populations, SEEN, 40), HELD_OUT, 80)
    assert not gate_of(world, both).valid


def test_the_gate_repeats(world):
    assert gate_of(world, world.populations) == gate_of(world, world.populations)


def test_several_memberships_are_tried_together(world):
    one, four = (gate_of(world, world.populations, numbers) for numbers in ((0,), (0, 1, 2, 3)))
    first, together = (probe(g, "linear on pixels", Contrast.SAMPLE).auc for g in (one, four))
    assert together.n > first.n, "other people are members of other numbers"
    assert together.high - together.low < first.high - first.low
    assert "memberships" in together.method


def test_only_probes_of_the_attacks_asked_for_run_and_others_are_added(world, tmp_path, monkeypatch):
    few = gate_of(world, world.populations, attacks=ATTACKS[:1], folder=tmp_path)
    assert {p.classifier for p in few.probes} == {
        "linear on pixels",
        "linear on untrained embedding",
        "bn_distance on untrained",
    }
    ran = []
    whole = blind_gate.run_contrast
    monkeypatch.setattr(blind_gate, "run_contrast", lambda spec, *a: ran.append(spec.label) or whole(spec, *a))
    monkeypatch.setattr(blind_gate, "thumbnails", lambda _photos: pytest.fail("tried a second time"))
    more = gate_of(world, world.populations, folder=tmp_path)
    assert set(ran) == {"regrown_head"}
    assert len(more.probes) > len(few.probes)


def test_an_attack_that_does_not_apply_is_no_probe(world):
    """With one unseen photo a person, no centre can be grown for held-out people: that is no reason to fail the track."""
    roles = world.track.roles.model_copy(update={"photos": 2})
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


def judged(scores, seed=0):
    return judge({key: (*auc_estimate(s, seed=seed), len(np.unique(s.identity))) for key, s in scores.items()})


def test_nothing_to_judge_is_an_error():
    with pytest.raises(FaceVeilError, match="no probe"):
        judge({})


def test_false_alarms_stay_below_five_percent(monkeypatch):
    """40 gates of 6 blind probes without any signal: the number flagged is binomial with p at most 0.05."""
    monkeypatch.setattr(score_metrics, "REPLICATES", 200)  # a deviation needs fewer than an interval
    rng = np.random.default_rng(0)
    flagged = 0
    for run in range(40):
        scores = {(f"c{i}", Contrast.SAMPLE): noise(rng) for i in range(6)}
        flagged += not judged(scores, seed=run).valid
    assert flagged <= 7  # P(more) = 0.0007


def test_a_clear_signal_is_found_however_many_probes():
    rng = np.random.default_rng(1)
    scores = {(f"c{i}", Contrast.SAMPLE): noise(rng) for i in range(30)}
    scores["planted", Contrast.SAMPLE] = noise(rng, shift=1.5)
    gate = judged(scores, seed=0)
    assert [p.classifier for p in gate.probes if p.invalid] == ["planted"]


def test_more_probes_need_a_wider_interval():
    rng = np.random.default_rng(2)
    own = noise(rng, shift=0.3)
    widths = []
    for others in (0, 50):
        scores = {("own", Contrast.SAMPLE): own} | {(f"c{i}", Contrast.SAMPLE): noise(rng) for i in range(others)}
        auc = judged(scores, seed=0).probes[0].auc
        widths.append(auc.high - auc.low)
    # z at 0.05 / 2 and at 0.05 / 102
    assert widths[1] / widths[0] == pytest.approx(3.2968 / 1.9600, rel=0.01)


def test_a_certain_but_tiny_difference_is_let_pass():
    """Significant yet below the limit: with enough people anything is."""
    scores = noise(np.random.default_rng(3), shift=0.08, people=2000)
    (found,) = judged({("c", Contrast.SAMPLE): scores}, seed=0).probes
    assert 0.5 < found.auc.low < found.auc.value < LIMIT
    assert not found.invalid


def test_the_mixed_contrast_alone_does_not_fail_a_track():
    scores = {("c", Contrast.PAPER): noise(np.random.default_rng(4), shift=3.0)}
    gate = judged(scores, seed=0)
    assert gate.probes[0].invalid
    assert gate.valid


def test_a_reversed_classifier_is_no_alarm():
    """Below 0.5 a classifier fitted on other people found nothing that holds."""
    assert judged({("c", Contrast.SAMPLE): noise(np.random.default_rng(5), shift=-3.0)}, seed=0).valid


def test_thumbnails_are_block_means():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=generator)
    found = thumbnails(ArrayPhotos(images, np.arange(5)))
    blocks = images.double().numpy().reshape(5, 3, THUMBNAIL, 2, THUMBNAIL, 2).mean((3, 5))
    np.testing.assert_allclose(found, blocks.reshape(5, -1), rtol=1e-6)
