from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.data.procedural import faces as faces_module
from benchmark.data.procedural.counter_hash import Stream, keys, pixel_noise
from benchmark.data.procedural.domains import spreads
from benchmark.data.procedural.faces import SyntheticFaces, render
from benchmark.data.procedural.parameters import IDENTITY, NUISANCE_SPREAD, identity_numbers, photo_numbers
from benchmark.interfaces import FaceVeilError


def pairs_of(people: int, photos: int) -> np.ndarray:
    return np.stack([np.repeat(np.arange(people), photos), np.tile(np.arange(photos), people)], axis=1)


PAIRS = pairs_of(6, 5)


@pytest.mark.parametrize("size", [32, 47, 64, 112])
def test_any_size(size):
    photos = SyntheticFaces(PAIRS, size, seed=0).load([0, 7])
    assert photos.shape == (2, 3, size, size)
    assert photos.dtype == torch.uint8
    assert photos.float().std() > 20


def test_sizes_show_the_same_face():
    small, large = (SyntheticFaces(PAIRS, size, seed=0).load(range(10)).float() for size in (56, 112))
    reduced = torch.nn.functional.avg_pool2d(large, 2)
    assert (small - reduced).abs().mean() < 8


@pytest.mark.parametrize("size", [32, 45])
def test_a_photo_does_not_depend_on_its_batch(size):
    pairs = pairs_of(60, 5)
    together = render(pairs[:, 0], pairs[:, 1], size, seed=11)
    order = np.random.default_rng(0).permutation(len(pairs))
    assert torch.equal(render(pairs[order, 0], pairs[order, 1], size, seed=11), together[order])
    alone = torch.cat([render(pairs[i : i + 1, 0], pairs[i : i + 1, 1], size, seed=11) for i in range(40)])
    assert torch.equal(alone, together[:40])


def test_threads_do_not_change_a_pixel():
    before = torch.get_num_threads()
    try:
        drawn = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            drawn.append(render(PAIRS[:, 0], PAIRS[:, 1], 45, seed=3))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(drawn[0], drawn[1])


def test_seed_identity_and_photo_all_matter():
    first = render(np.array([3]), np.array([1]), 32, seed=5)
    assert torch.equal(first, render(np.array([3]), np.array([1]), 32, seed=5))
    for identity, photo, seed in [(4, 1, 5), (3, 2, 5), (3, 1, 6), (1, 3, 5)]:
        assert not torch.equal(first, render(np.array([identity]), np.array([photo]), 32, seed=seed))


def test_far_identities_and_large_seeds_draw():
    photos = render(np.array([2**40, 2**40 + 1]), np.array([2**33, 0]), 32, seed=2**62)
    assert photos.float().std(dim=(1, 2, 3)).min() > 10


def test_identity_is_a_vector_of_its_own_and_photos_are_exchangeable():
    assert len(IDENTITY) >= 40
    people, photos = np.repeat(np.arange(400), 10), np.tile(np.arange(10), 400)
    numbers = identity_numbers(1, people)
    assert all(np.ptp(value.reshape(400, 10, -1), axis=1).max() == 0 for value in numbers.values())
    drawn = (
        np.stack(list(photo_numbers(1, people, photos, spreads("wild")).values()), axis=1).reshape(400, 10, -1)
        / NUISANCE_SPREAD
    )
    limit = 5 / np.sqrt(400)  # five standard errors
    assert np.abs(drawn.mean(axis=0)).max() < limit
    assert np.abs(drawn.var(axis=0) - 1).max() < limit * np.sqrt(2)
    seen, unseen = drawn[:, :9].reshape(3600, -1), drawn[:, 1:].reshape(3600, -1)
    correlation = (seen * unseen).mean(axis=0)
    assert np.abs(correlation).max() < 5 / np.sqrt(3600)


def test_pixel_noise_is_standard_and_white():
    key = keys(0, Stream.NOISE, np.arange(50), np.zeros(50, np.int64))
    noise = torch.from_numpy(pixel_noise(key, 3 * 64 * 64)).double()
    assert abs(float(noise.mean())) < 0.01
    assert abs(float(noise.std()) - 1) < 0.01
    assert abs(float((noise[:, 1:] * noise[:, :-1]).mean())) < 0.01
    assert abs(float((noise[1:] * noise[:-1]).mean())) < 0.01


def test_people_differ_more_than_photos_of_one_person():
    people, photos = 80, 6
    faces = SyntheticFaces(pairs_of(people, photos), 32, seed=2).load(range(people * photos)).double().flatten(1)
    faces = (faces - faces.mean(1, keepdim=True)) / faces.std(1, keepdim=True)
    distance = torch.cdist(faces, faces)
    identity = torch.arange(people).repeat_interleave(photos)
    same = identity[:, None] == identity[None, :]
    off = ~torch.eye(len(identity), dtype=torch.bool)
    assert distance[~same].mean() > 1.03 * distance[same & off].mean()


def test_cache_equals_drawing(tmp_path):
    direct, cached = SyntheticFaces(PAIRS, 36, 4), SyntheticFaces(PAIRS, 36, 4, cache=tmp_path / "c")
    assert not (tmp_path / "c").exists()
    index = [29, 0, 0, 12]
    assert torch.equal(cached.load(index), direct.load(index))
    name = f"synthetic-{cached.digest}.npy"
    assert {path.name for path in (tmp_path / "c").iterdir()} == {name, f".{name}.sha256"}
    assert torch.equal(SyntheticFaces(PAIRS, 36, 4, cache=tmp_path / "c").load([-1]), direct.load([29]))


@pytest.mark.parametrize("cached", [False, True])
def test_loaded_photos_may_be_written_to_without_harm(tmp_path, cached):
    faces = SyntheticFaces(PAIRS, 32, 4, cache=tmp_path if cached else None)
    before = faces.load([3]).clone()
    faces.load([3]).zero_()
    assert torch.equal(faces.load([3]), before)


def test_the_cache_is_drawn_once_also_for_parts(tmp_path, monkeypatch):
    calls = []

    def counting(identity, *rest):
        calls.append(len(identity))
        return render(identity, *rest)

    monkeypatch.setattr(faces_module, "render", counting)
    faces = SyntheticFaces(PAIRS, 32, 4, cache=tmp_path)
    part = faces.take([7, 3, 20]).take(np.array([True, False, True]))
    assert torch.equal(part.load([1, 0]), faces.load([20, 7]))
    SyntheticFaces(PAIRS, 32, 4, cache=tmp_path).load(range(10))
    assert calls == [30]
    name = f"synthetic-{faces.digest}.npy"
    assert {path.name for path in tmp_path.iterdir()} == {name, f".{name}.sha256"}, "photos and their checksum"


def test_an_interrupted_cache_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(faces_module, "render", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        SyntheticFaces(PAIRS, 32, 4, cache=tmp_path).load([0])
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_cache_is_named(tmp_path):
    faces = SyntheticFaces(PAIRS, 32, 4, cache=tmp_path)
    path = tmp_path / f"synthetic-{faces.digest}.npy"
    for damage in (b"", b"not an array", b"\x93NUMPY\x01\x00"):
        path.write_bytes(damage)
        with pytest.raises(FaceVeilError, match="delete that file"):
            faces.load([0])
    np.save(path, np.zeros((2, 3, 32, 32), np.uint8))
    with pytest.raises(FaceVeilError, match="delete that file"):
        faces.load([0])


def test_take_and_names():
    faces = SyntheticFaces(PAIRS, 32, 4)
    part = faces.take([29, 2])
    assert len(part) == 2
    assert part.identity.tolist() == [5, 0]
    assert part.identity.dtype == np.int64
    assert list(part.keys) == ["p000005/0004", "p000000/0002"]
    assert torch.equal(part.load([0, 1]), faces.load([29, 2]))
    assert part.digest == SyntheticFaces(PAIRS[[29, 2]], 32, 4).digest
    with pytest.raises(IndexError):
        faces.load([30])


def test_digest_covers_everything_the_pixels_follow_from(monkeypatch):
    digests = [
        SyntheticFaces(PAIRS, 32, 4).digest,
        SyntheticFaces(PAIRS, 33, 4).digest,
        SyntheticFaces(PAIRS, 32, 5).digest,
        SyntheticFaces(PAIRS[::-1], 32, 4).digest,
        SyntheticFaces(PAIRS, 32, 4, domain="studio").digest,
    ]
    monkeypatch.setattr(faces_module, "GENERATOR_VERSION", faces_module.GENERATOR_VERSION + 1)
    digests.append(SyntheticFaces(PAIRS, 32, 4).digest)
    monkeypatch.setattr(faces_module.parameters, "IDENTITY_SPREAD", 0.5)
    digests.append(SyntheticFaces(PAIRS, 32, 4).digest)
    assert len(set(digests)) == len(digests)


def test_empty(tmp_path):
    faces = SyntheticFaces(np.zeros((0, 2), int), 32, 4, cache=tmp_path)
    assert len(faces) == 0
    assert faces.load([]).shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    ("pairs", "size", "seed", "message"),
    [
        (PAIRS, 31, 0, "32 to 112"),
        (PAIRS, 113, 0, "32 to 112"),
        (PAIRS[:, 0], 32, 0, "shape"),
        (PAIRS - 1, 32, 0, "negative"),
        (PAIRS, 32, -1, "seed"),
    ],
)
def test_refusals(pairs, size, seed, message):
    with pytest.raises(FaceVeilError, match=message):
        SyntheticFaces(pairs, size, seed)


def test_a_studio_portrait_shows_the_same_person_under_steadier_conditions():
    """The same numbers, each nearer to its mean; another file in the cache."""
    identity, photo = PAIRS[:, 0], PAIRS[:, 1]
    wild, studio = (photo_numbers(2, identity, photo, spreads(domain)) for domain in ("wild", "studio"))
    assert all(np.allclose(studio[name], 0.35 * wild[name]) for name in wild)
    assert not torch.equal(render(identity, photo, 32, 2, "studio"), render(identity, photo, 32, 2))
    faces = SyntheticFaces(PAIRS, 32, 2, domain="studio")
    assert torch.equal(faces.take([3, 1]).load([0]), render(identity[[3]], photo[[3]], 32, 2, "studio"))
    with pytest.raises(FaceVeilError, match="studio"):
        SyntheticFaces(PAIRS, 32, 2, domain="studioo")
