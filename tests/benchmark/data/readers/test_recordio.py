from __future__ import annotations

import io
import os
import pickle
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data.readers.open import open_faces
from benchmark.data.readers.recordio import MAGIC, open_records
from benchmark.interfaces import FaceVeilError

REAL = os.environ.get("FACEVEIL_TEST_DATA")
MAGIC_BYTES = struct.pack("<I", MAGIC)


def png(seed: int, side: int = 16) -> bytes:
    return encoded(seed, side, "PNG")


def encoded(seed: int, side: int, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    array = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(array).save(out, kind, **options)
    return out.getvalue()


def payload(image: bytes, label: float | Sequence[float]) -> bytes:
    if isinstance(label, Sequence):
        return struct.pack("<IfQQ", len(label), 0, 0, 0) + struct.pack(f"<{len(label)}f", *label) + image
    return struct.pack("<IfQQ", 0, label, 0, 0) + image


def framed(data: bytes) -> bytes:
    """A record as the format's writer makes it: split where the data holds the magic number at a multiple of 4."""
    cuts = [i for i in range(0, len(data) - 3, 4) if data[i : i + 4] == MAGIC_BYTES]
    starts, ends = [0, *(cut + 4 for cut in cuts)], [*cuts, len(data)]
    out = b""
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        flag = 0 if not cuts else 1 if number == 0 else 3 if number == len(cuts) else 2
        out += struct.pack("<II", MAGIC, flag << 29 | end - start) + data[start:end] + bytes(-(end - start) % 4)
    return out


def write(folder: Path, payloads: dict[int, bytes], order: Sequence[int] | None = None) -> Path:
    """``train.rec`` and ``train.idx`` with records in ``order`` of the file."""
    rec, idx = b"", ""
    for key in order or payloads:
        idx += f"{key}\t{len(rec)}\n"
        rec += framed(payloads[key])
    (folder / "train.rec").write_bytes(rec)
    (folder / "train.idx").write_text(idx)
    return folder / "train.rec"


def plain(count: int = 6) -> dict[int, bytes]:
    return {key: payload(png(key), float(key % 3)) for key in range(count)}


def insightface() -> dict[int, bytes]:
    """Record 0: (first, one past the last) of the records of people; these: their ranges of photos; photos 1..5."""
    photos = {1: payload(png(1), 0.0), 2: payload(png(2), 0.0), 3: payload(png(3), 1.0), 4: payload(png(4), [1.0, 0.0])}
    people = {5: payload(b"", [1.0, 3.0]), 6: payload(b"", [3.0, 5.0])}
    return {0: payload(b"", [5.0, 7.0])} | photos | people


def expected(seed: int) -> torch.Tensor:
    array = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return torch.from_numpy(array).permute(2, 0, 1)


def test_webp_in_records_is_read(tmp_path: Path) -> None:
    webp = {key: payload(encoded(key, 16, "WEBP", lossless=True), float(key)) for key in range(3)}
    photos = open_records(write(tmp_path, webp), 16)
    assert torch.equal(photos.load([2, 0]), torch.stack([expected(2), expected(0)]))


def test_plain_file_in_any_order(tmp_path: Path) -> None:
    photos = open_records(write(tmp_path, plain(), order=[4, 0, 5, 2, 1, 3]), 16)
    assert photos.keys == ("0/0", "1/1", "2/2", "0/3", "1/4", "2/5")
    assert photos.identity.tolist() == [0, 1, 2, 0, 1, 2]
    assert photos.names == ("0", "1", "2")
    assert (photos.report.people, photos.report.photos, photos.report.skipped) == (3, 6, ())
    loaded = photos.load([5, 2])
    assert torch.equal(loaded[0], expected(5))
    assert torch.equal(loaded[1], expected(2))
    copy = pickle.loads(pickle.dumps(photos.take([3])))
    assert torch.equal(copy.load([0])[0], expected(3))


def test_insightface_index_records_are_no_photos(tmp_path: Path) -> None:
    photos = open_faces(write(tmp_path, insightface()), 16)
    assert photos.keys == ("0/1", "0/2", "1/3", "1/4")
    assert photos.identity.tolist() == [0, 0, 1, 1]
    assert photos.report.skipped == ()
    assert torch.equal(photos.load([3])[0], expected(4))
    assert open_faces(tmp_path, 16).digest == photos.digest  # the folder it was handed out in
    assert open_faces(tmp_path / "train.idx", 16).digest == photos.digest


@pytest.mark.parametrize("shift", range(4))
def test_a_photo_that_contains_the_magic_number(tmp_path: Path, shift: int) -> None:
    values = bytearray(np.random.default_rng(shift).integers(0, 256, 16 * 16, dtype=np.uint8).tobytes())
    for start in (40 + shift, 44 + shift, 120 + shift):
        values[start : start + 4] = MAGIC_BYTES
    image = b"P5 16 16 255\n" + bytes(values)
    path = write(tmp_path, {0: payload(image, 0.0), 1: payload(png(1), 1.0)})
    parts = path.read_bytes().count(MAGIC_BYTES)
    photos = open_records(path, 16)
    assert photos.report.skipped == ()
    assert photos.load([0])[0, 0].numpy().tobytes() == bytes(values)
    assert parts == 5  # however they are aligned: the two records, and three in the photo or as starts of parts


def test_the_split_of_records_is_exercised() -> None:
    data = b"abcd" + MAGIC_BYTES + b"efgh" + MAGIC_BYTES + b"ij"
    record = framed(data)
    assert [word >> 29 for word in struct.unpack_from("<I", record, 4)] == [1]
    assert record.count(MAGIC_BYTES) == 3


def test_damaged_records_are_named_and_the_rest_is_used(tmp_path: Path) -> None:
    bad = {
        6: payload(b"no image", 0.0),
        7: payload(b"", 0.0),
        8: payload(png(8), 0.5),
        9: payload(png(9), float("nan")),
        10: payload(png(10), -1.0),
        11: b"short",
        12: struct.pack("<IfQQ", 1000, 0, 0, 0) + b"1234",
        13: payload(png(1), 2.0),
        14: payload(png(14, 8), 2.0),
    }
    path = write(tmp_path, plain() | bad)
    index = tmp_path / "train.idx"
    index.write_text(index.read_text() + "15\t4\n16\t99999999\n")
    report = open_records(path, 16).report
    skipped = dict(report.skipped)
    assert (report.people, report.photos) == (3, 6)
    assert skipped["0/6"].startswith("not an image")
    assert skipped["0/7"] == "empty file"
    for key in (8, 9, 10):
        assert skipped[f"record {key}"].startswith("no person: the label")
    assert "no room for its header" in skipped["record 11"]
    assert "no room for 1000 labels" in skipped["record 12"]
    assert skipped["2/13"] == "repeated photo: the same file as 1/1"
    assert skipped["2/14"].startswith("wrong size")
    assert skipped["record 15"].startswith("corrupt: no record where the index points")
    assert skipped["record 16"].startswith("cut short")
    assert len(skipped) == 11


def test_a_file_that_was_cut_short(tmp_path: Path) -> None:
    path = write(tmp_path, plain())
    path.write_bytes(path.read_bytes()[:-40])
    photos = open_records(path, 16)
    assert len(photos) == 5
    assert dict(photos.report.skipped)["record 5"].startswith("cut short: train.rec ends at byte")


def test_parts_out_of_order_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, plain())
    first = struct.pack("<II", MAGIC, 1 << 29 | 24) + payload(b"", 0.0)
    path.write_bytes(path.read_bytes() + first + framed(payload(png(9), 0.0)))
    index = tmp_path / "train.idx"
    end = path.stat().st_size - len(first) - len(framed(payload(png(9), 0.0)))
    index.write_text(index.read_text() + f"6\t{end}\n")
    photos = open_records(path, 16)
    assert dict(photos.report.skipped) == {"0/6": "corrupt: the parts of the record are out of order"}


def test_what_is_no_recordio_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, plain())
    (tmp_path / "other.rec").write_bytes(path.read_bytes())
    with pytest.raises(FaceVeilError, match=r"other\.rec needs its index other\.idx"):
        open_records(tmp_path / "other.rec")
    with pytest.raises(FaceVeilError, match="no such file"):
        open_faces(tmp_path / "none.rec")
    (tmp_path / "train.idx").write_text("0\t0\none two\n")
    with pytest.raises(FaceVeilError, match="line 2: expected a key and a byte offset, found 'one two'"):
        open_records(path)
    (tmp_path / "train.idx").write_text("")
    with pytest.raises(FaceVeilError, match=r"train\.idx is empty"):
        open_records(path)
    path.write_bytes(b"PK\x03\x04 a zip by another name")
    with pytest.raises(FaceVeilError, match="is not a RecordIO file: it starts with 504b0304, not 0xced7230a"):
        open_records(path)
    path.write_bytes(b"")
    with pytest.raises(FaceVeilError, match="is not a RecordIO file"):
        open_records(path)


def test_the_scan_is_remembered(tmp_path: Path) -> None:
    path = write(tmp_path, plain())
    first = open_records(path, 16, cache=tmp_path / "cache")
    calls: list[tuple[int, int]] = []
    again = open_records(path, 16, cache=tmp_path / "cache", progress=lambda *done: calls.append(done))
    assert calls == []
    assert again.digest == first.digest == open_records(path, 16).digest


@pytest.mark.realdata
@pytest.mark.skipif(not REAL, reason="FACEVEIL_TEST_DATA is not set")
def test_a_genuine_file() -> None:
    folder = Path(REAL) / "recordio"
    photos = open_records(folder / "train.rec", 112)
    rows = [line.split() for line in (folder / "train.lst").read_text().splitlines()]
    labels = {int(key): int(float(label)) for key, label, _ in rows}
    assert photos.keys == tuple(f"{labels[key]}/{key}" for key in range(8))
    assert (photos.report.people, photos.report.photos, photos.report.skipped) == (2, 8, ())
    batch = photos.load(range(8)).float()
    assert batch.shape == (8, 3, 112, 112)
    assert 50 < batch.mean() < 200
    grey = (batch - batch.mean(1, keepdim=True)).abs().mean((1, 2, 3))
    assert grey[1] == 0  # the one photo of the sample that is grey
    assert (grey[[0, 2, 3, 4, 5, 6, 7]] > 3).all()
