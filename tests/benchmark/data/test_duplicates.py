from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from benchmark.data.duplicates import (
    Duplicate,
    find_duplicates,
    fingerprints,
    near_hashes,
    near_rows,
    perceptual_hashes,
    write_list,
)
from benchmark.data.readers.folder import open_folder
from benchmark.data.readers.open import open_faces
from benchmark.interfaces import FaceVeilError


def drawn(person: int, photo: int, side: int = 48) -> Image.Image:
    """Blobs of the person's own, moved a little by the photo."""
    rng, moved = np.random.default_rng([person]), np.random.default_rng([person, photo])
    y, x = np.mgrid[:side, :side] / side
    image = sum(
        a * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.02)
        for a, cx, cy in np.column_stack([rng.uniform(60, 200, 6), rng.random((6, 2)) + moved.normal(0, 0.05, (6, 2))])
    )
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).convert("RGB")


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def test_light_size_and_compression_change_few_bits_and_other_photos_many() -> None:
    image = drawn(1, 1)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=40)
    same = [image, Image.open(out), image.point(lambda v: v * 0.8 + 10), image.filter(ImageFilter.GaussianBlur(0.7))]
    others = [drawn(person, 0) for person in range(2, 12)]
    hashes = perceptual_hashes(torch.stack([pixels(i) for i in (*same, *others)]))
    distance = np.bitwise_count(hashes ^ hashes[0])
    assert distance[: len(same)].max() <= 3
    assert distance[len(same) :].min() >= 10


def test_near_hashes_are_all_found_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 400, dtype=np.uint64)
    for i in range(0, 100, 2):  # copies with up to four bits changed
        flipped = rng.permutation(64)[: i // 2 % 5]
        hashes[i + 1] = hashes[i] ^ np.uint64(sum(1 << int(bit) for bit in flipped))
    people = np.arange(400)
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = {(i, j) for i, j in np.argwhere(distance <= 3).tolist() if i < j and people[i] != people[j]}
    assert set(near_hashes(hashes, people)) == expected
    assert set(near_hashes(hashes, np.zeros(400, np.int64))) == set()


def test_near_rows_are_those_of_all_against_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.data.duplicates.TILE", 7)
    rows = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = {(i, j) for i, j in np.argwhere(rows @ rows[:25].T >= 0.8).tolist()}
    assert {(i, j) for i, j, _ in near_rows(rows, rows[:25], 0.8)} == expected


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Ten people of four photos; p8 is p3 under another name with fewer photos, and one photo of p5 stands under p6, too."""
    root = tmp_path / "faces"
    for person in range(10):
        (root / f"p{person}").mkdir(parents=True)
        shown, first, count = (3, 10, 3) if person == 8 else (person, 0, 4)
        for photo in range(first, first + count):
            drawn(shown, photo).save(root / f"p{person}/{photo}.png")
    drawn(5, 2).save(root / "p6/copy.jpg", quality=80)
    return root


def by_identity(photos, index: np.ndarray) -> np.ndarray:
    """Embeddings that know who is really shown, with a little noise."""
    rows = []
    for i in index:
        person, _, file = photos.keys[i].partition("/")
        shown = "p3" if person == "p8" else "p5" if file == "copy.jpg" else person
        own = np.random.default_rng([ord(shown[1])]).normal(size=64)
        rows.append(own + 0.1 * np.random.default_rng([int(i)]).normal(size=64))
    return np.array(rows, np.float32)


def test_people_and_photos_under_two_names_are_left_out_of_the_set(faces: Path, tmp_path: Path) -> None:
    photos = open_folder(faces, 48)
    batches = ((part, by_identity(photos, part)) for part in np.array_split(np.arange(len(photos)), 5))
    listed = by_identity(photos, np.flatnonzero(photos.identity == 9)[:1])
    others = [("lfw.bin", listed / np.linalg.norm(listed))]
    prints = fingerprints(photos, batches, 64)
    found = find_duplicates(photos, prints, lambda index: by_identity(photos, index), others)
    reasons = {d.key: d.reason for d in found}
    assert {key for key in reasons if key.startswith("p8/")} == {"p8/10.png", "p8/11.png", "p8/12.png"}
    assert reasons["p8/10.png"].startswith("duplicate: the person is that of p3 (cosine 0.9")
    assert {key for key in reasons if "is on lfw.bin" in reasons[key]} == {f"p9/{i}.png" for i in range(4)}
    assert len(reasons) == 8
    assert {"p6/copy.jpg", "p5/2.png"} & reasons.keys()
    write_list(found, tmp_path / "list.csv")
    kept = open_faces(Path(f"{faces}#without={tmp_path / 'list.csv'}"), 48)
    assert kept.names == tuple(f"p{i}" for i in range(8))
    assert len(kept) == len(photos) - 8
    assert kept.identity.max() == 7
    assert kept.report.reasons()["duplicate"] == 8
    assert "8 photos left out by list.csv" in kept.report.note
    assert kept.digest != photos.digest


def test_a_list_of_another_set_is_refused(faces: Path, tmp_path: Path) -> None:
    write_list([Duplicate("nobody/1.png", "duplicate")], tmp_path / "list.csv")
    with pytest.raises(FaceVeilError, match="lists 1 photos, and none is in"):
        open_faces(Path(f"{faces}#without={tmp_path / 'list.csv'}"))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FaceVeilError, match="lacks the columns key, reason"):
        open_faces(Path(f"{faces}#without={tmp_path / 'other.csv'}"))
    with pytest.raises(FaceVeilError, match="cannot read the list"):
        open_faces(Path(f"{faces}#without={tmp_path / 'none.csv'}"))
