from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny_world import FLOW, TINY
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.data.populations import HELD_OUT, SEEN, UNSEEN
from benchmark.evaluation.membership import rotation
from benchmark.evaluation.membership.rotation import Rotator, sides_under
from benchmark.interfaces import AttackSpec, Contrast, FaceVeilError
from benchmark.protocol.track import ShadowBudget
from benchmark.protocol.tracks import TRACKS

REGROWN = AttackSpec(name="regrown_head")
CALIBRATED = AttackSpec(name="regrown_head", settings={"knowledge": "query_pool"})


@pytest.fixture(scope="module")
def pool(tiny):
    return list(tiny.pool.query_pool("photos", TINY.backbone))


@pytest.fixture(scope="module")
def found(tiny, pool):
    specs = (
        REGROWN,
        CALIBRATED,
        AttackSpec(name="face_auditor"),
        AttackSpec(name="bn_lira", settings={"knowledge": "auxiliary"}),
    )
    return Rotator(tiny.populations, pool, tiny.folder / "rotation").run(specs)


def test_a_planted_leak_is_found_in_every_target(found):
    assert [t.spec for t in found.turns] == [REGROWN, CALIBRATED]
    for turn in found.turns:
        assert turn.pooled.metrics["auc"].low > 0.7
        assert len(turn.auc_by_target) == found.targets == 4
        assert min(turn.auc_by_target) > 0.7
    assert [t.shadows for t in found.turns] == [0, 2]


def test_photos_of_all_targets_are_pooled_and_people_counted_once(found, tiny):
    populations = tiny.populations
    asked = ~populations.labelled & np.isin(populations.side, (SEEN, UNSEEN))
    for turn in found.turns:
        assert turn.pooled.n_positive == turn.pooled.n_negative == 4 * asked.sum() // 2
        assert turn.pooled.people == len(np.unique(np.asarray(populations.queried.identity)[asked]))


def test_what_cannot_take_turns_is_left_out_with_its_reason(found):
    assert "attack on people" in found.left_out["face_auditor"]
    assert "of public people" in found.left_out["bn_lira(knowledge=auxiliary)"]


def test_a_targets_complement_sits_out(tiny, pool, monkeypatch):
    asked = []
    plain = rotation.gather

    def gather(target, populations, specs, *, shadows, cache):
        asked.append((target.submission_id, {s.submission.submission_id for s in shadows.photos}))
        return plain(target, populations, specs, shadows=shadows, cache=cache)

    monkeypatch.setattr(rotation, "gather", gather)
    Rotator(tiny.populations, pool, tiny.folder / "watched").run([REGROWN])
    ids = [s.submission.submission_id for s in pool]
    assert asked == [(ids[n], {ids[k] for k in range(4) if k // 2 != n // 2}) for n in range(4)]


def test_wrong_halves_are_at_chance(tiny, pool):
    """The same backbones under halves that they were not trained on."""
    rng = np.random.default_rng(0)
    populations = tiny.populations
    identity = np.asarray(populations.queried.identity)
    drawn = []
    for shadow in pool:
        inside = np.zeros(len(identity), bool)
        for person in np.unique(identity[np.isin(populations.side, (SEEN, UNSEEN))]):
            inside[rng.permutation(np.flatnonzero(identity == person))[:2]] = True
        drawn.append(replace(shadow, inside=inside))
    turn = Rotator(populations, drawn, tiny.folder / "null").run([REGROWN]).turns[0]
    auc = turn.pooled.metrics["auc"]
    assert auc.low < 0.5 < auc.high


def test_sides_follow_the_shadows_half(tiny, pool):
    populations, inside = tiny.populations, pool[0].inside
    side = sides_under(populations, inside)
    assert np.array_equal(side == HELD_OUT, populations.side == HELD_OUT)
    assert np.array_equal(side == SEEN, inside)
    assert (side == UNSEEN).sum() == inside.sum()


def test_finished_turns_are_not_taken_again(tiny, pool, found, monkeypatch):
    monkeypatch.setattr(rotation, "gather", None)
    again = Rotator(tiny.populations, pool, tiny.folder / "rotation").run([REGROWN, CALIBRATED])
    assert again.turns == found.turns


@pytest.mark.parametrize("count", [0, 2, 3])
def test_too_few_or_odd_shadows_are_refused(tiny, pool, count):
    with pytest.raises(FaceVeilError, match=rf"gives {count}\. Pass --shadows photos=N"):
        Rotator(tiny.populations, pool[:count], tiny.folder / "rotation")


def test_the_command_prints_and_writes_the_table(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path))
    track = FLOW.model_copy(update={"name": "tiny-turns", "shadows": ShadowBudget(photos=4)})
    monkeypatch.setitem(TRACKS, track.name, track)
    command = ["rotate", "--track", track.name, "--attacks", "regrown_head,embedding_norm", "--workers", "1"]
    shown = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "r.json")], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "not measurable" in shown.output or "–" in shown.output
    written = json.loads((tmp_path / "r.json").read_text())
    assert [t["spec"]["name"] for t in written["turns"]] == ["regrown_head", "embedding_norm"]
    assert written["turns"][0]["pooled"]["contrast"] == Contrast.SAMPLE
    refused = CliRunner().invoke(app, [*command, "--shadows", "photos=3"])
    assert refused.exit_code == 1
    assert "even number" in str(refused.exception)
