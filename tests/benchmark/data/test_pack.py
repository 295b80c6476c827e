from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from record_files import jpeg
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.data.pack import pack, write_records
from benchmark.data.readers.folder import open_folder
from benchmark.data.readers.record_format import MAGIC
from benchmark.data.readers.recordio import open_records
from benchmark.interfaces import FaceVeilError
from benchmark.runtime.unfinished import passing_prefix


def folder(root: Path) -> Path:
    for person in range(3):
        (root / f"p{person}").mkdir(parents=True)
        for number in range(3):
            (root / f"p{person}/{number}.jpg").write_bytes(jpeg(10 * person + number))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(root / "p1/wide.png")
    return root


def test_a_packed_set_holds_the_same_photos(tmp_path: Path) -> None:
    photos = open_folder(folder(tmp_path / "faces"), 16)
    assert pack(photos, tmp_path / "out") == 10
    again = open_records(tmp_path / "out" / "train.rec", 16)
    assert again.identity.tolist() == photos.identity.tolist()
    assert (again.load(range(10)) == photos.load(range(10))).all()
    assert again.source.read(0) == jpeg(0)  # a JPEG of the right size is not encoded again
    assert (tmp_path / "out" / "property").read_text() == "3,16,16\n"
    with pytest.raises(FaceVeilError, match="is not an empty folder"):
        pack(photos, tmp_path / "out")


def test_a_photo_that_holds_the_magic_number_is_split_and_put_together(tmp_path: Path) -> None:
    magic = MAGIC.to_bytes(4, "little")
    comments = [jpeg(i, comment=b"x" * i + magic * 3) for i in range(4)]
    write_records(tmp_path / "a", ((image, 0) for image in comments), size=(16, 16))
    photos = open_records(tmp_path / "a" / "train.rec", 16)
    assert [photos.source.read(i) for i in range(4)] == comments


def test_people_out_of_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceVeilError, match="record 2 shows person 2"):
        write_records(tmp_path / "a", iter([(jpeg(0), 0), (jpeg(1), 2)]), size=(16, 16))


def test_the_command(tmp_path: Path, fresh_home: Path) -> None:
    found = CliRunner().invoke(app, ["data", "pack", str(folder(tmp_path / "faces")), "--out", str(tmp_path / "out")])
    assert found.exit_code == 0, found.output
    assert "wrote 10 photos of 3 people" in found.output
    assert len(open_records(tmp_path / "out" / "train.rec")) == 10


def test_an_interrupted_packing_leaves_nothing_that_looks_like_a_set(tmp_path):
    def interrupted():
        yield jpeg(0), 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_records(tmp_path / "out", interrupted(), size=(16, 16))
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "out" / f"{passing_prefix('train.rec', 999_999_999)}abcdefgh.part").write_text("left by one that was killed")
    assert write_records(tmp_path / "out", [(jpeg(0), 0), (jpeg(1), 1)], size=(16, 16)) == 2
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["property", "train.idx", "train.rec"]


def test_a_folder_that_another_command_writes_to_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    other = tmp_path / "out" / f"{passing_prefix('train.rec', os.getpid())}abcdefgh.part"
    other.write_text("half")
    with pytest.raises(FaceVeilError, match="another command writes to it, or was killed on another machine"):
        write_records(tmp_path / "out", [(jpeg(0), 0)], size=(16, 16))
    assert [file.name for file in (tmp_path / "out").iterdir()] == [other.name]
