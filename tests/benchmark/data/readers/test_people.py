from __future__ import annotations

import io
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.data.populations import open_populations
from benchmark.data.readers.open import open_faces
from benchmark.data.readers.people import people_of
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.tracks import TRACKS


def photo(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def write(folder: Path, names: list[str]) -> Path:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photo(seed))
    return folder


RECORDINGS = [f"person{p:02d}/{r}/{i}.png" for p in range(30) for r in range(3) for i in range(2)]
PARTS = [f"{part}/person{p:02d}/{i}.png" for part in ("train", "val") for p in range(6) for i in range(2)]


def test_recordings_are_the_same_person(tmp_path: Path) -> None:
    photos = open_faces(write(tmp_path / "wrap/faces", RECORDINGS).parent, 16)
    assert photos.names == tuple(f"person{p:02d}" for p in range(30))
    assert np.bincount(photos.identity).tolist() == [6] * 30
    assert photos.report.note == ("people are the 30 folders below faces/; 90 folders inside them count as the same person's")


def test_nobody_plays_two_roles(tmp_path: Path) -> None:
    write(tmp_path / "faces", [f"person{p:02d}/{r}/{i}.png" for p in range(40) for r in range(3) for i in range(2)])
    populations = open_populations(TRACKS["faces-112"].model_copy(update={"image_size": 16}), tmp_path / "faces")
    split = populations.split
    roles = [np.unique(getattr(split, role.name)[:, 0]) for role in fields(split)]
    people = np.concatenate(roles)
    assert len(people) == len(np.unique(people)) >= 30


def test_the_same_name_in_two_parts_is_one_person(tmp_path: Path) -> None:
    photos = open_faces(write(tmp_path / "faces", PARTS), 16)
    assert photos.names == tuple(f"person{p:02d}" for p in range(6))
    assert np.bincount(photos.identity).tolist() == [4] * 6
    assert "train/person00/0.png" in photos.keys
    assert "the same name in two parts is one person" in photos.report.describe()


def test_a_name_whose_accents_macos_takes_apart_is_no_other_name(tmp_path: Path) -> None:
    composed, apart = "M\u00fcller", "Mu\u0308ller"
    paths = [f"train/{composed}/1.png", "train/Ab/1.png", f"val/{apart}/2.png", "val/AB/2.png"]
    assert people_of(paths).person == [composed, "Ab", composed, "AB"], "identifiers may differ in the case of letters alone"
    assert people_of(paths, "2").person == [composed, "Ab", composed, "AB"]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "list.txt").write_text(f"{apart}.png {apart}\n", encoding=encoding)
        assert people_of([f"a/{composed}.png"], str(tmp_path / "list.txt")).person == [composed]


def test_a_part_alone_wraps_its_people(tmp_path: Path) -> None:
    assert open_faces(write(tmp_path / "faces", ["train/a/1.png", "train/b/1.png"]), 16).names == ("a", "b")


GROUPS = [f"{group}/p{p}/1.png" for group in ("female", "male") for p in range(9)]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            [f"{group}/person{p}/1.png" for group in ("female", "male") for p in range(9)],
            "2 folders (female, male) hold 18 folders",
        ),
        (["train/1.png", "val/2.png"], "look like parts of a set and hold photos, but no folders of people"),
        (["train/a/1.png", "bert/2.png"], "train look like parts of a set with people inside, bert like people"),
    ],
)
def test_what_is_ambiguous_is_refused_with_the_remedy(paths: list[str], message: str) -> None:
    with pytest.raises(FaceVeilError, match="it is unclear which folders are people") as caught:
        people_of(paths, where="/sets/faces")
    assert message in str(caught.value)
    assert "#people=RULE" in str(caught.value)


def test_rules(tmp_path: Path) -> None:
    assert people_of(GROUPS, "1").person == ["female"] * 9 + ["male"] * 9
    assert people_of(GROUPS, "2").person == [f"p{p}" for p in range(9)] * 2
    assert people_of(GROUPS, "1/2").person == [f"{group}/p{p}" for group in ("female", "male") for p in range(9)]
    flat = ["Ann_Lee_0001.jpg", "Ann_Lee_0002.jpg", "Bo_0001.jpg", "x.jpg"]
    assert people_of(flat, r"^(.+)_\d{4}\.").person == ["Ann_Lee", "Ann_Lee", "Bo", ""]
    names = tmp_path / "identity.txt"
    names.write_text("000001.jpg 2880\n000002.jpg 2937\n\nimg/000003.jpg 2880\n")
    listed = people_of(["img/000001.jpg", "img/000002.jpg", "img/000003.jpg", "img/4.jpg"], str(names))
    assert listed.person == ["2880", "2937", "2880", ""]


@pytest.mark.parametrize(
    ("rule", "message"),
    [("(a", "is not a rule"), ("abc", "has 0 groups"), ("7", "finds a person on none of 1 photos, such as")],
)
def test_a_rule_that_says_nothing_is_refused(rule: str, message: str) -> None:
    with pytest.raises(FaceVeilError, match=message):
        people_of(["a/1.png"], rule)


def test_a_list_with_a_line_of_another_kind_is_refused(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("1.png anna\n2.png\n")
    with pytest.raises(FaceVeilError, match=r"names\.txt, line 2: expected `photo person`, found '2\.png'"):
        people_of(["1.png"], str(names))


def test_a_rule_follows_the_path_and_is_part_of_the_digest(tmp_path: Path) -> None:
    faces = write(tmp_path / "faces", [f"{g}/p{p}/1.png" for g in ("a", "b") for p in range(4)])
    by_group, by_person = open_faces(Path(f"{faces}#people=1"), 16), open_faces(Path(f"{faces}#people=2"), 16)
    assert by_group.names == ("a", "b")
    assert by_person.names == ("p0", "p1", "p2", "p3")
    assert by_group.digest != by_person.digest
    with pytest.raises(FaceVeilError, match="a rule is missing"):
        open_faces(Path(f"{faces}#people="))


def test_photos_without_a_person_are_named(tmp_path: Path) -> None:
    photos = open_faces(Path(f"{write(tmp_path / 'faces', ['ann_1.png', 'ann_2.png', 'cover.png'])}#people=^(.+)_"), 16)
    assert photos.names == ("ann",)
    assert photos.report.skipped == (("cover.png", "no person: not in a folder of its identity"),)
