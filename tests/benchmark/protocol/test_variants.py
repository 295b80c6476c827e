from __future__ import annotations

import pytest

from benchmark.interfaces import FaceVeilError
from benchmark.protocol.track import ShadowBudget
from benchmark.protocol.tracks import TRACKS, get_track
from benchmark.protocol.variants import parse, variant

TRACK = TRACKS["synthetic-smoke"]


def test_a_factor_makes_another_track_under_its_own_name():
    changed = variant(TRACK, {"head": "softmax", "photos": 4})
    assert changed.name == "synthetic-smoke[head=softmax,photos=4]"
    assert (changed.head.name, changed.roles.seen, changed.roles.unseen) == ("softmax", 2, 2)
    assert changed.head.margin == TRACK.head.margin
    assert changed.digest != TRACK.digest
    assert get_track(changed.name) == changed
    assert parse(changed.name) == ("synthetic-smoke", {"head": "softmax", "photos": 4})


def test_the_track_s_own_values_change_nothing():
    own = {"head": TRACK.head.name, "photos": TRACK.roles.photos, "epochs": TRACK.training.epochs, "population": None}
    assert variant(TRACK, own) is TRACK
    assert get_track("synthetic-smoke") is TRACK


def test_shadows_and_epochs():
    changed = get_track("synthetic-smoke[epochs=3,shadows=2]")
    assert changed.shadows == ShadowBudget(auxiliary=2)
    assert changed.training.epochs == 3
    assert changed.training.lr == TRACK.training.lr


def test_people():
    changed = get_track("synthetic-smoke[photos=4,pool=60,public=50,verification=30]")
    assert changed.roles == TRACK.roles.model_copy(update={"photos": 4, "pool": 60, "public": 50, "verification": 30})
    assert changed.training == TRACK.training


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ("colour=blue", "unknown factor 'colour'"),
        ("head=margin", "one of softmax, cosface, arcface, adaface"),
        ("photos=1", "at least 2"),
        ("epochs=0", "at least 1"),
        ("population=1", "at least 2"),
        ("pool=3", "at least 4"),
        ("public=1", "at least 2"),
        ("verification=1", "at least 2"),
        ("photos=many", "whole number"),
        ("shadows=1/0/0", "whole number"),
    ],
)
def test_what_does_not_exist_is_refused(factors, message):
    with pytest.raises(FaceVeilError, match=message):
        get_track(f"synthetic-smoke[{factors}]")


def test_unknown_tracks_are_answered_with_the_nearest():
    with pytest.raises(FaceVeilError, match="Did you mean 'synthetic-smoke'"):
        get_track("synthetic-smoek[head=softmax]")


@pytest.mark.parametrize("value", ["\N{SUPERSCRIPT TWO}", "9" * 5000])
def test_a_number_that_python_does_not_read_is_refused_in_words(value):
    with pytest.raises(FaceVeilError, match=f"epochs={value}"):
        get_track(f"synthetic-quick[epochs={value}]")
