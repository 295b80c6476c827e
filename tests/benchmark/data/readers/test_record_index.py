from __future__ import annotations

import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from record_files import jpeg, record_set

from benchmark.data.pack import write_records
from benchmark.data.readers import record_index, recordio
from benchmark.data.readers.record_check import check_records
from benchmark.data.readers.record_index import content_name, read_idx
from benchmark.data.readers.recordio import LargeRecordFaces, RecordSource, open_records
from benchmark.interfaces import FaceVeilError


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a few records count as large."""
    monkeypatch.setattr(recordio, "SCAN_UP_TO", 8)
    monkeypatch.setattr(record_index, "RANGES_ABOVE", 8)


def without_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("the head of every record was read")

    monkeypatch.setattr(record_index, "_by_heads", refuse)


def test_people_come_from_the_ranges_of_the_header_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: None) -> None:
    rec = record_set(tmp_path / "a")
    every = RecordSource(rec)
    without_heads(monkeypatch)
    by_ranges = RecordSource(rec)
    assert by_ranges.index.people.tolist() == np.repeat(np.arange(6), 4).tolist()
    assert np.array_equal(by_ranges.index.rows, every.index.rows)
    assert [by_ranges.read(i) for i in (0, 23)] == [jpeg(0), jpeg(503)]


def test_ranges_that_lie_are_not_believed(tmp_path: Path, large: None) -> None:
    rec = record_set(tmp_path / "a")
    data = bytearray(rec.read_bytes())
    lines = [line.split() for line in rec.with_suffix(".idx").read_text().splitlines()]
    offset = int(lines[25][1])  # the record of person 0: its photos are said to end one later
    assert struct.unpack_from("<2f", data, offset + 32) == (1.0, 5.0)
    struct.pack_into("<2f", data, offset + 32, 1.0, 6.0)
    rec.write_bytes(bytes(data))
    assert RecordSource(rec).index.people.tolist() == np.repeat(np.arange(6), 4).tolist()


def test_a_large_file_opens_without_decoding_and_has_the_photos_of_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rec = record_set(tmp_path / "a")
    small = open_records(rec, 16)
    monkeypatch.setattr(recordio, "SCAN_UP_TO", 8)
    photos = open_records(rec, cache=tmp_path / "cache")
    assert isinstance(photos, LargeRecordFaces)
    assert photos.size == 16
    assert photos.names == small.names
    assert photos.identity.tolist() == small.identity.tolist()
    assert tuple(photos.keys) == small.keys
    assert photos.keys[3:5][1] == small.keys[4]
    assert (photos.load([23, 0, 7]) == small.load([23, 0, 7])).all()
    assert photos.take([5, 2]).digest == photos.take([5, 2]).digest != photos.take([2, 5]).digest != photos.digest
    assert "24 records are decoded when asked for" in photos.report.describe()
    again = pickle.loads(pickle.dumps(photos))
    assert (again.load([3]) == small.load([3])).all()


def test_the_index_is_kept_and_made_again_where_it_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rec, cache = record_set(tmp_path / "a"), tmp_path / "cache"
    rows = np.array(RecordSource(rec, cache).index.rows)
    (kept,) = cache.glob("records-*.npy")
    whole = kept.read_bytes()
    for damage in (whole[: len(whole) // 2], whole[:-3] + bytes(3), b"", whole.replace(b"i8", b"O8")):
        kept.write_bytes(damage)
        assert np.array_equal(RecordSource(rec, cache).index.rows, rows)
        assert kept.read_bytes() == whole
    kept.with_suffix(".json").write_text("{")
    assert np.array_equal(RecordSource(rec, cache).index.rows, rows)
    without_heads(monkeypatch)
    assert np.array_equal(RecordSource(rec, cache).index.rows, rows)


def test_the_index_of_another_file_has_another_name(tmp_path: Path) -> None:
    sources = [RecordSource(record_set(tmp_path / "a")), RecordSource(record_set(tmp_path / "b", photos=5))]
    moved = record_set(tmp_path / "c")
    names = [source.content_name() for source in sources]
    assert names[0] != names[1]
    assert content_name(RecordSource(moved)._file, moved.with_suffix(".idx")) == names[0]


def test_damaged_records_of_a_large_file_are_left_out_once_it_was_checked(tmp_path: Path, large: None) -> None:
    photos = [(jpeg(i), i // 4) for i in range(20)]
    photos[6] = (photos[6][0][:100], 1)
    photos[13] = photos[2][0], 3
    write_records(tmp_path / "a", photos, size=(16, 16))
    rec, cache = tmp_path / "a" / "train.rec", tmp_path / "cache"
    before = open_records(rec, 16, cache=cache)
    assert "sampled records are damaged, such as 1/7 (corrupt" in before.report.warnings[0]
    with pytest.raises(FaceVeilError, match=r"photo 1/7 .* cannot be read .* check the set with `faceveil data check`"):
        before.load([5, 6])
    left_out, sizes = check_records(RecordSource(rec, cache), workers=1)
    assert sorted(left_out) == [7, 14]
    assert left_out[14] == "repeated photo: the same file as 0/3"
    assert sizes == {(16, 16): 19}
    after = open_records(rec, 16, cache=cache)
    assert len(after) == 18
    assert dict(after.report.skipped)["record 7"].startswith("corrupt")
    assert after.digest != before.digest
    assert after.load(range(18)).shape == (18, 3, 16, 16)


def test_several_processes_find_what_one_finds(tmp_path: Path, large: None) -> None:
    source = RecordSource(record_set(tmp_path / "a", people=3), tmp_path / "cache")
    assert check_records(source, workers=2) == check_records(source, workers=1)


def test_unsorted_repeated_and_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "a.idx").write_bytes(b"7\t70\n\n3 30\r\n  5\t50  \n3\t31")
    keys, offsets = read_idx(tmp_path / "a.idx")
    assert keys.tolist() == [3, 5, 7]
    assert offsets.tolist() == [31, 50, 70]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1\t0\n2\n", "line 2: expected a key and a byte offset, found '2'"),
        (b"1 2 3\n4\n", "line 1"),
        (b"1\t" + b"9" * 19, "line 1"),
        (b"1\t-4\n", "line 1"),
        (b"\xff\xfe1\t2\n", "line 1"),
        (b"7" * (9 << 20), "line 1"),
    ],
)
def test_lines_of_another_kind_are_named(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "a.idx").write_bytes(text)
    with pytest.raises(FaceVeilError, match=message):
        read_idx(tmp_path / "a.idx")


def test_opening_holds_an_index_and_no_photos(tmp_path: Path, large: None) -> None:
    image = jpeg(0, 16, comment=bytes(8000))
    write_records(tmp_path / "a", ((image + bytes([i % 256]), i // 10) for i in range(2000)), size=(16, 16))
    tracemalloc.start()
    photos = open_records(tmp_path / "a" / "train.rec", 16, cache=tmp_path / "cache")
    photos.load(range(0, 2000, 100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "a" / "train.rec").stat().st_size > 16 << 20
    assert peak < 6 << 20
