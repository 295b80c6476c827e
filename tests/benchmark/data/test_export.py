from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data.export import export_role
from benchmark.data.readers.folder import FolderFaces, open_folder
from benchmark.interfaces import FaceVeilError


def faces(folder: Path) -> FolderFaces:
    for person, name in enumerate(("anna", "bo", "cy")):
        (folder / name).mkdir(parents=True)
        for photo in range(3):
            out = io.BytesIO()
            array = np.random.default_rng(10 * person + photo).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(array).save(out, "PNG" if photo else "BMP")
            (folder / name / f"{photo}.{'png' if photo else 'bmp'}").write_bytes(out.getvalue())
    return open_folder(folder, 16)


def test_an_export_holds_the_same_pixels(tmp_path: Path) -> None:
    part = faces(tmp_path / "set").take([7, 0, 8, 1])
    progress: list[tuple[int, int]] = []
    export_role(part, tmp_path / "out", progress=lambda *done: progress.append(done))
    with open(tmp_path / "out/index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == list(part.keys) == ["cy/1.png", "anna/0.bmp", "cy/2.png", "anna/1.png"]
    assert [row["identity"] for row in rows] == ["2", "0", "2", "0"]
    assert [row["file"] for row in rows] == ["000002/0000.png", "000000/0000.png", "000002/0001.png", "000000/0001.png"]
    for row, photo in zip(rows, part.load(range(4)), strict=True):
        with Image.open(tmp_path / "out" / row["file"]) as image:
            assert torch.equal(torch.from_numpy(np.array(image)).permute(2, 0, 1), photo)
    readme = (tmp_path / "out/README.txt").read_text()
    assert "4 photos of 2 people" in readme
    assert part.digest in readme
    assert progress[-1] == (4, 4)


def test_an_export_can_be_opened(tmp_path: Path) -> None:
    whole = faces(tmp_path / "set")
    export_role(whole, tmp_path / "out")
    again = open_folder(tmp_path / "out", 16)
    assert np.array_equal(again.identity, whole.identity)
    assert torch.equal(again.load(range(9)), whole.load(range(9)))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    photos = faces(tmp_path / "set")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for name in ("full", "file"):
        with pytest.raises(FaceVeilError, match="is not an empty folder"):
            export_role(photos, tmp_path / name)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    export_role(photos, tmp_path / "empty")
    with pytest.raises(FaceVeilError, match="is not an empty folder"):
        export_role(photos, tmp_path / "empty")


def test_an_interrupted_export_does_not_look_complete(tmp_path: Path) -> None:
    photos = faces(tmp_path / "set")
    (tmp_path / "set/cy/2.png").unlink()
    with pytest.raises(FaceVeilError, match=r"cy/2\.png"):
        export_role(photos, tmp_path / "out")
    assert not (tmp_path / "out/README.txt").exists()
    export_role(faces(tmp_path / "again"), tmp_path / "out")  # goes over what the first one left
    assert (tmp_path / "out/README.txt").exists()
    assert not (tmp_path / "out/.incomplete").exists()
    with pytest.raises(FaceVeilError, match="not an empty folder"):
        export_role(faces(tmp_path / "once more"), tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FaceVeilError, match="cannot write below"):
        export_role(faces(tmp_path / "set"), tmp_path / "file" / "out")
