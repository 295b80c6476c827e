from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from record_files import jpeg, record_set

from benchmark.data.readers import record_index, recordio
from benchmark.data.readers.pairs import load_pairs
from benchmark.data.readers.recordio import open_records
from benchmark.interfaces import FaceVeilError

EXAMPLES = int(os.environ.get("FACEVEIL_FUZZ_EXAMPLES", "60"))
QUICK = settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
damage = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["set", "cut", "insert", "delete", "word"]), st.binary(min_size=1, max_size=6)),
    min_size=1,
    max_size=6,
)


def damaged(data: bytes, changes: list[tuple[float, str, bytes]]) -> bytes:
    out = bytearray(data)
    for where, kind, value in changes:
        at = int(where * max(0, len(out) - 1))
        if kind == "set":
            out[at : at + len(value)] = value
        elif kind == "cut":
            del out[at:]
        elif kind == "insert":
            out[at:at] = value
        elif kind == "delete":
            del out[at : at + len(value) ** 2]
        else:  # a length or a label of its own
            out[at // 4 * 4 : at // 4 * 4 + 4] = (value * 4)[:4]
    return bytes(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_set(tmp_path_factory.mktemp("whole") / "a", people=3, photos=3)


@pytest.mark.parametrize("large", [False, True])
@QUICK
@given(rec=damage, idx=st.one_of(st.none(), damage, st.binary(max_size=200)))
def test_damaged_records_are_an_answer_or_an_error_with_a_text(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool, rec: list, idx: list | bytes | None
) -> None:
    if large:
        monkeypatch.setattr(recordio, "SCAN_UP_TO", 2)
        monkeypatch.setattr(record_index, "RANGES_ABOVE", 2)
    (tmp_path / "train.rec").write_bytes(damaged(whole.read_bytes(), rec))
    index = whole.with_suffix(".idx").read_bytes()
    text = index if idx is None else idx if isinstance(idx, bytes) else damaged(index, idx)
    (tmp_path / "train.idx").write_bytes(text)
    with contextlib.suppress(FaceVeilError):
        photos = open_records(tmp_path / "train.rec", 16, cache=tmp_path / "cache")
        assert len(photos.digest) == 64
        photos.load(range(len(photos)))


@QUICK
@given(changes=damage)
def test_damaged_lists_of_pairs_are_an_answer_or_an_error_with_a_text(tmp_path: Path, changes: list) -> None:
    content = pickle.dumps(([jpeg(i) for i in range(6)], [True, False, True]), protocol=2)
    (tmp_path / "a.bin").write_bytes(damaged(content, changes))
    with contextlib.suppress(FaceVeilError):
        pairs = load_pairs(tmp_path / "a.bin", 16)
        pairs.images.load(range(len(pairs.images)))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02]q\x00(" + b"U\xff" * 5,
        b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"x",  # bytes of a terabyte
        b"\x80\x04\x96" + (1 << 40).to_bytes(8, "little") + b"x",
        b"\x80\x02r" + (1 << 31).to_bytes(4, "little"),  # a place in a memo of two thousand million
        b"\x80\x02](" + b"h\x00" * 10,
        b"\x80\x04\x95" + (1 << 50).to_bytes(8, "little"),
        b"I" + b"9" * 100_000 + b"\n.",
    ],
)
def test_a_list_that_asks_for_much_memory_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(FaceVeilError):
        load_pairs(tmp_path / "a.bin", 16)
