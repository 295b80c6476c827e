from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_world import FLOW

from benchmark.data.populations import HELD_OUT, SEEN, SIDES, SPARE, UNSEEN, open_populations, photo_counts
from benchmark.interfaces import Contrast, FaceVeilError
from benchmark.protocol.track import Roles

ROLES = Roles(pool=16, photos=4, verification=5, public=3, auxiliary=8, judges=2)
FOLDER = FLOW.model_copy(
    update={"name": "folder", "source": "folder", "image_size": 32, "roles": ROLES, "public_domain": "wild"}
)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """34 people with 5 photos each; the red of a photo is its person, the green its number."""
    root = tmp_path_factory.mktemp("faces")
    for person in range(34):
        (root / f"person{person:02d}").mkdir()
        for photo in range(5):
            Image.new("RGB", (32, 32), (person, photo, 0)).save(root / f"person{person:02d}" / f"{photo}.png")
    return root


def people_of(photos) -> set[int]:
    return set(np.asarray(photos.identity).tolist())


def colours(photos) -> np.ndarray:
    """(N, 2): person and photo number, as drawn."""
    return photos.load(np.arange(len(photos)))[:, :2, 0, 0].numpy()


@pytest.fixture(params=["synthetic", "folder"])
def populations(request, faces, tmp_path):
    return open_populations(FLOW, cache=tmp_path) if request.param == "synthetic" else open_populations(FOLDER, faces)


def test_a_set_that_looks_unaligned_is_named(faces):
    (warning,) = open_populations(FOLDER, faces).warnings
    assert warning.startswith(f"{faces}: ")
    assert "look unaligned" in warning
    assert len(open_populations(FOLDER, faces, public=faces).warnings) == 2, "the public faces, too"
    assert open_populations(FLOW).warnings == ()


def test_queried_photos_are_the_whole_pool_by_person(populations):
    roles, identity = populations.roles, np.asarray(populations.queried.identity)
    assert len(populations.queried) == len(populations.side) == roles.pool * roles.photos
    assert (np.diff(identity) >= 0).all()
    sides = Counter(populations.side.tolist())
    members, held_out = roles.members, roles.held_out
    assert sides == {
        SEEN: members * roles.seen,
        UNSEEN: members * roles.unseen,
        HELD_OUT: held_out * roles.unseen,
        SPARE: held_out * roles.seen,
    }
    by_side = [set(identity[populations.side == s].tolist()) for s in (SEEN, UNSEEN, HELD_OUT, SPARE)]
    assert by_side[0] == by_side[1] == people_of(populations.seen)
    assert by_side[2] == by_side[3]
    assert not by_side[0] & by_side[2]


def test_every_number_has_its_own_members_of_the_same_pool(populations):
    other = populations.numbered(1)
    assert other.queried is populations.queried
    assert (other.number, populations.number) == (1, 0)
    assert people_of(other.seen) != people_of(populations.seen)
    assert len(other.seen) == len(populations.seen)
    assert list(other.numbered(0).seen.keys) == list(populations.seen.keys)
    assert np.array_equal(other.labelled, populations.labelled), "whom a partial attacker knows is the same for every target"


def test_trained_photos_are_the_seen_ones(populations):
    queried = populations.queried.take(np.flatnonzero(populations.side == SEEN))
    assert queried.keys == populations.seen.keys
    assert torch.equal(queried.load([0, 3]), populations.seen.load([0, 3]))
    keys = list(populations.queried.keys)
    assert len(set(keys)) == len(keys), "no photo is asked about twice"


def test_roles_share_nobody(populations):
    roles = [populations.seen, populations.queried.take(np.flatnonzero(populations.side == HELD_OUT))]
    roles += [populations.verification, populations.auxiliary, populations.public, populations.judges]
    people = [people_of(photos) for photos in roles]
    assert sum(len(p) for p in people) == len(set().union(*people))
    assert [len(p) for p in people] == [
        populations.roles.members,
        populations.roles.held_out,
        populations.roles.verification,
        populations.roles.auxiliary,
        populations.roles.public,
        populations.roles.judges,
    ]


def test_known_people_are_the_track_s_share_of_the_pool(populations):
    identity, known = np.asarray(populations.queried.identity), populations.labelled
    share = [known[identity == p].mean() for p in np.unique(identity)]
    assert set(share) <= {0.0, 1.0}, "a person is known with all photos or with none"
    assert sum(share) == round(populations.track.partial_share * populations.roles.pool)


def test_contrasts_are_pairs_of_sides():
    assert SIDES[Contrast.SAMPLE] == (SEEN, UNSEEN)
    assert SIDES[Contrast.IDENTITY] == (UNSEEN, HELD_OUT)
    assert SIDES[Contrast.PAPER] == (SEEN, HELD_OUT)


def test_a_folder_gives_the_photos_that_the_split_names(faces):
    """The pixels themselves say who and which photo: no index may be off by one."""
    populations = open_populations(FOLDER, faces)
    split = populations.split
    for photos, pairs in (
        (populations.seen, split.pool[populations.side == SEEN]),
        (populations.public, split.public),
        (populations.verification, split.verification),
        (populations.auxiliary, split.auxiliary),
        (populations.queried, split.pool),
    ):
        assert (colours(photos) == pairs).all()
        assert (np.asarray(photos.identity) == pairs[:, 0]).all()


def test_a_small_folder_scales_the_roles_down(faces):
    big = FOLDER.model_copy(update={"roles": ROLES.model_copy(update={"pool": 32, "auxiliary": 16})})
    populations = open_populations(big, faces)
    assert populations.roles.pool < 32
    assert len(people_of(populations.seen)) == populations.roles.members


def test_the_split_follows_seed_and_data(faces, tmp_path):
    one, same = open_populations(FOLDER, faces), open_populations(FOLDER, faces)
    other = open_populations(FOLDER.model_copy(update={"split_seed": 1}), faces)
    assert one.split_digest == same.split_digest != other.split_digest
    assert one.data_digest == same.data_digest == other.data_digest
    synthetic, seeded = (open_populations(FLOW.model_copy(update={"data_seed": s})) for s in (1, 2))
    assert synthetic.data_digest != seeded.data_digest


def test_the_known_share_follows_the_seed(faces):
    one, other = (open_populations(FLOW.model_copy(update={"split_seed": s})) for s in (0, 1))
    assert not np.array_equal(one.labelled, other.labelled)


def test_data_where_it_is_not_wanted_and_missing_where_it_is(faces):
    with pytest.raises(FaceVeilError, match="draws its own faces"):
        open_populations(FLOW, faces)
    with pytest.raises(FaceVeilError, match="pass --data PATH"):
        open_populations(FOLDER)


def test_too_few_people_are_refused_with_what_is_needed(faces, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for person in range(6):
        shutil.copytree(faces / f"person{person:02d}", few / f"person{person:02d}")
    with pytest.raises(FaceVeilError, match="pool: people"):
        open_populations(FOLDER, few)


def test_photo_counts(faces):
    populations = open_populations(FOLDER, faces)
    assert photo_counts(populations.source(np.array([[0, 0], [0, 3], [2, 1]]), "any")).tolist() == [2, 0, 1]


@pytest.mark.parametrize("role", ["members", "verification", "public", "auxiliary", "judges"])
def test_a_role_by_name(role, populations):
    photos = populations.role(role)
    assert len(people_of(photos)) == getattr(populations.roles, role)
    if role == "members":
        assert photos.keys == populations.seen.keys
    others = [populations.role(r) for r in ("members", "verification", "public", "auxiliary", "judges") if r != role]
    assert not people_of(photos) & set().union(*map(people_of, others))


def test_public_people_of_a_synthetic_track_are_studio_portraits():
    populations = open_populations(FLOW)
    plain = open_populations(FLOW.model_copy(update={"public_domain": "wild"}))
    index = np.arange(len(populations.public))
    studio, wild = (p.public.load(index).double() for p in (populations, plain))
    assert populations.public.keys == plain.public.keys
    assert populations.data_digest != plain.data_digest
    spread = [  # how much the photos of one person differ
        np.mean(
            [photos[torch.from_numpy(populations.public.identity == p)].std(0).mean() for p in people_of(populations.public)]
        )
        for photos in (studio, wild)
    ]
    assert spread[0] < 0.6 * spread[1]


def test_another_file_stands_for_the_public_people(faces, tmp_path):
    shutil.copytree(faces / "person00", tmp_path / "public" / "a")
    populations = open_populations(FOLDER, faces, public=tmp_path / "public")
    assert (populations.roles.public, populations.public_people, len(populations.public)) == (0, 1, 5)
    none = open_populations(FOLDER.model_copy(update={"roles": ROLES.model_copy(update={"public": 0})}), faces)
    assert none.public is None
    with pytest.raises(FaceVeilError, match="pass --public PATH"):
        none.role("public")
    with pytest.raises(FaceVeilError, match="leave out --public"):
        open_populations(FLOW, public=faces)
