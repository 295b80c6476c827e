"""Photos of a round: whoever trains elsewhere cannot have trained on what an evaluation asks about."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_world import FLOW

from benchmark.data.memberships import HELD_OUT, SEEN, SPARE, UNSEEN
from benchmark.data.populations import Populations, open_populations
from benchmark.interfaces import FaceVeilError, Photos
from benchmark.protocol.track import Track
from benchmark.protocol.tracks import TRACKS, get_track, in_round
from benchmark.protocol.variants import variant
from benchmark.runtime.rounds import SHORT, add_round, find_round, known_rounds, new_round


@pytest.fixture
def held(fresh_home) -> Populations:
    return open_populations(in_round(FLOW, add_round("5e" * 32).name))


@pytest.fixture
def public() -> Populations:
    return open_populations(FLOW)


def pixels(photos: Photos) -> torch.Tensor:
    return photos.load(range(len(photos)))


def test_what_a_submitter_trains_on_is_as_it_was(held, public):
    for name in ("seen", "public", "auxiliary", "judges"):
        assert torch.equal(pixels(getattr(held, name)), pixels(getattr(public, name))), name
    assert held.seen.digest == public.seen.digest, "the same training, resumed from the same checkpoint"
    assert np.array_equal(held.side, public.side)
    assert held.queried.keys == public.queried.keys
    assert held.split_digest == public.split_digest
    assert held.data_digest != public.data_digest


def test_nothing_that_is_asked_about_can_be_drawn_from_the_public_seeds(held, public):
    everything = {photo.tobytes() for role in ("queried", "verification") for photo in pixels(getattr(public, role)).numpy()}
    asked = pixels(held.queried).numpy()
    known = np.array([photo.tobytes() in everything for photo in asked])
    assert np.array_equal(known, held.side == SEEN)
    assert not any(photo.tobytes() in everything for photo in pixels(held.verification).numpy())


def test_a_member_is_the_same_person_on_unseen_photos_and_a_stranger_is_another(held, public):
    drawn, plain = held.queried._drawn, public.queried._drawn
    same = drawn[:, 0] == plain[:, 0]
    assert np.array_equal(same, np.isin(held.side, (SEEN, UNSEEN)))
    for person in np.unique(plain[~same, 0]):
        assert len(set(drawn[plain[:, 0] == person, 0].tolist())) == 1, "a stranger's photos show one person"
    assert (drawn[np.isin(held.side, (UNSEEN, HELD_OUT, SPARE)), 1] > 2**40).all(), "too many to be guessed"


def test_secret_photos_look_like_the_others(held):
    """Of one distribution: the mean brightness of seen and unseen photos of the same people differs by chance alone."""
    big = FLOW.model_copy(update={"roles": FLOW.roles.model_copy(update={"pool": 200, "auxiliary": 20})})
    people = open_populations(in_round(big, held.round))
    bright = pixels(people.queried).float().mean((1, 2, 3)).numpy()
    groups = [bright[people.side == side] for side in (SEEN, UNSEEN, HELD_OUT)]
    for other in groups[1:]:
        error = np.hypot(groups[0].std() / np.sqrt(len(groups[0])), other.std() / np.sqrt(len(other)))
        assert abs(groups[0].mean() - other.mean()) < 3 * error
        assert 0.8 < groups[0].std() / other.std() < 1.25


def test_a_round_follows_from_its_secret_alone(fresh_home, held):
    again = open_populations(in_round(FLOW, held.round))
    assert again.data_digest == held.data_digest
    assert torch.equal(pixels(again.verification), pixels(held.verification))
    other = open_populations(in_round(FLOW, new_round().name))
    assert other.data_digest != held.data_digest
    assert not torch.equal(pixels(other.verification), pixels(held.verification))
    assert sorted(known_rounds()) == sorted([held.round, other.round])
    assert all(path.stat().st_mode & 0o077 == 0 for path in (fresh_home / "rounds").iterdir()), "for its owner alone"


def test_without_a_round_a_track_is_what_it_was():
    track = TRACKS["synthetic-quick"]
    assert track.round is None
    assert "round" not in Track.model_validate(track.model_dump(exclude={"round"})).settings("name", "roles")
    assert track.digest == in_round(track, "0" * SHORT).model_copy(update={"name": track.name}).digest


def test_names_of_tracks_in_a_round(fresh_home):
    name = new_round().name
    track = get_track(f"synthetic-quick@{name}")
    assert (track.name, track.round) == (f"synthetic-quick@{name[:SHORT]}", name[:SHORT])
    assert get_track(track.name) == track
    varied = variant(track, {"head": "softmax"})
    assert varied.name == f"synthetic-quick[head=softmax]@{name[:SHORT]}"
    assert get_track(varied.name) == varied
    assert get_track(f"{track.name}+canaries").round == track.round
    with pytest.raises(FaceVeilError, match="names no round"):
        get_track("synthetic-quick@soon")
    with pytest.raises(FaceVeilError, match="only tracks that draw theirs"):
        get_track(f"faces-112@{name}")


def test_a_secret_that_is_not_here_or_damaged(fresh_home):
    with pytest.raises(FaceVeilError, match="faceveil round add SECRET"):
        open_populations(in_round(FLOW, "0" * SHORT))
    with pytest.raises(FaceVeilError, match="64 hexadecimal digits"):
        add_round("a secret")
    with pytest.raises(FaceVeilError, match="64 hexadecimal digits"):
        add_round("5e" * 16)
    made = new_round()
    (fresh_home / "rounds" / f"{made.name}.secret").write_text("5e" * 32)
    with pytest.raises(FaceVeilError, match="is damaged"):
        find_round(made.name)
