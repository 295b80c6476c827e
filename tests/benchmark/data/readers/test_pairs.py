from __future__ import annotations

import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data.readers.pairs import load_pairs
from benchmark.interfaces import FaceVeilError


def pixels(seed: int, side: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def png(seed: int, side: int = 16) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(seed, side)).save(out, "PNG")
    return out.getvalue()


def python2(photos: list[bytes], answers: list[bool]) -> bytes:
    """The pickle that Python 2 wrote (protocol 2): photos as its 8-bit strings, opcode T or U."""
    strings = b"".join((b"U" + bytes([len(p)]) if len(p) < 256 else b"T" + struct.pack("<i", len(p))) + p for p in photos)
    return b"\x80\x02](" + strings + b"e](" + b"".join(b"\x88" if a else b"\x89" for a in answers) + b"e\x86."


PHOTOS, ANSWERS = [png(i) for i in range(6)], [True, False, True]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5, "python 2"])
def test_every_protocol(tmp_path: Path, protocol: int | str) -> None:
    content = python2(PHOTOS, ANSWERS) if protocol == "python 2" else pickle.dumps((PHOTOS, ANSWERS), protocol)
    (tmp_path / "a.bin").write_bytes(content)
    pairs = load_pairs(tmp_path / "a.bin", 16)
    assert len(pairs) == 3
    assert pairs.same.dtype == bool
    assert pairs.same.tolist() == ANSWERS
    assert len(pairs.images) == 6
    loaded = pairs.images.load([2 * 1 + 1, 0])
    assert torch.equal(loaded[0], torch.from_numpy(pixels(3)).permute(2, 0, 1))
    assert torch.equal(loaded[1], torch.from_numpy(pixels(0)).permute(2, 0, 1))


def test_numbers_as_answers_and_photos_in_several_pairs(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(pickle.dumps(([png(0), png(1), png(0), png(2)], [0, 1])))
    pairs = load_pairs(tmp_path / "a.bin")
    assert pairs.same.tolist() == [False, True]
    assert pairs.images.keys == ("000000/0", "000000/1", "000001/0", "000001/1")
    assert pairs.images.size == 16


def test_pairs_with_a_damaged_photo_are_left_out(tmp_path: Path) -> None:
    photos = [*PHOTOS[:3], PHOTOS[3][:60], *PHOTOS[4:]]
    (tmp_path / "a.bin").write_bytes(pickle.dumps((photos, ANSWERS)))
    pairs = load_pairs(tmp_path / "a.bin", 16, cache=tmp_path / "cache")
    assert pairs.same.tolist() == [True, True]
    assert [name for name, _ in pairs.report.skipped] == ["000001/1"]
    assert torch.equal(pairs.images.load([2])[0], torch.from_numpy(pixels(4)).permute(2, 0, 1))
    (tmp_path / "b.bin").write_bytes(pickle.dumps(([png(0), b"x"], [True])))
    with pytest.raises(FaceVeilError, match="no pair of usable photos"):
        load_pairs(tmp_path / "b.bin")


class Runs:
    """A pickle of this runs a command when a plain unpickler reads it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


def hostile(marker: Path) -> dict[str, bytes]:
    return {
        "posix.system": pickle.dumps((PHOTOS, [Runs(f"touch {marker}")])),
        "builtins.eval": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
        "os.system": f"(S'touch {marker}'\nios\nsystem\n.".encode(),
        "numpy": pickle.dumps((PHOTOS, np.array(ANSWERS))),
        "a call other than": b"c_codecs\nencode\n(V1\nVrot13\ntR.",
        "copyreg": b"ccopyreg\n_reconstructor\n(c__main__\nX\nc__builtin__\nobject\nNtR.",
        "persistent": b"Pname\n.",
    }


@pytest.mark.parametrize("name", hostile(Path("x")))
def test_pickles_with_code_are_refused(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "a.bin").write_bytes(hostile(marker)[name])
    with pytest.raises(FaceVeilError, match="is refused as a file of pairs") as caught:
        load_pairs(tmp_path / "a.bin")
    assert name.split(".")[0] in str(caught.value)
    assert not marker.exists()


def test_the_hostile_pickle_would_have_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    pickle.loads(hostile(marker)["posix.system"])
    assert marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(PHOTOS), "expected \\(list of photos, list of answers\\)"),
        (pickle.dumps((PHOTOS, "yes")), "expected \\(list of photos"),
        (pickle.dumps((PHOTOS[:5], ANSWERS)), "3 answers need 6 photos, it holds 5"),
        (pickle.dumps(([], [])), "0 answers need"),
        (pickle.dumps((["text"] * 6, ANSWERS)), "a photo must be the bytes"),
        (pickle.dumps((PHOTOS, [True, False, 2])), "an answer must be True or False"),
        (pickle.dumps((PHOTOS, ANSWERS))[:-30], "damaged"),
        (b"", "damaged"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.", "damaged|refused"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(FaceVeilError, match=message):
        load_pairs(tmp_path / "a.bin")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FaceVeilError, match="cannot read"):
        load_pairs(tmp_path / "none.bin")
