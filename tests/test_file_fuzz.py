"""Damaged and hostile files of every kind that a user hands in: refused in words or read, never a traceback, never a hang."""

from __future__ import annotations

import io
import os
import random
import resource
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from submission_factory import make_submission

from benchmark.data.readers.open import open_faces
from benchmark.interfaces import FaceVeilError
from benchmark.models.checkpoints import import_checkpoint
from benchmark.submissions.submission import load_submission, pack_zip

CASES = int(os.environ.get("FACEVEIL_FUZZ_CASES", "10000"))
SECONDS = 20  # of one case; a hang ends the test
MOST_MB = 1536


def torch_weights(root: Path) -> list[bytes]:
    """A small state_dict as torch writes it, new and old, and as safetensors."""
    tensors = {"conv1.weight": torch.randn(4, 3, 3, 3), "bn1.running_mean": torch.randn(4), "fc.weight": torch.randn(8, 4)}
    texts = []
    for new in (True, False):
        out = io.BytesIO()
        torch.save({"state_dict": tensors, "epoch": 3}, out, _use_new_zipfile_serialization=new)
        texts.append(out.getvalue())
    return [*texts, safetensors.torch.save(tensors)]


def photo_sets(root: Path) -> list[bytes]:
    """A zip of three people with two small photos each, PNG and JPEG."""
    out = io.BytesIO()
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(out, "w") as archive:
        for person in range(3):
            for photo, kind in enumerate(("PNG", "JPEG")):
                picture = io.BytesIO()
                Image.fromarray(rng.integers(0, 255, (24, 24, 3), np.uint8)).save(picture, kind)
                archive.writestr(f"person{person}/{photo}.{'png' if kind == 'PNG' else 'jpg'}", picture.getvalue())
    return [out.getvalue()]


def all_photos(path: Path) -> torch.Tensor:
    """Every photo of a set, decoded."""
    photos = open_faces(path, 24)
    return photos.load(range(len(photos)))


def submissions(root: Path) -> list[bytes]:
    """A small submission as a zip."""
    make_submission(root / "entry")
    return [pack_zip(root / "entry", root / "entry.zip").read_bytes()]


KINDS: dict[str, tuple[Callable[[Path], list[bytes]], str, Callable[[Path], Any]]] = {
    "weights": (torch_weights, ".pt", import_checkpoint),
    "photos": (photo_sets, ".zip", all_photos),
    "submissions": (submissions, ".zip", load_submission),
}


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with a few changed, cut off, repeated or taken out; most near the ends, where formats keep their structure."""
    kept = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        size = len(kept)
        if not size:
            break
        near = rng.choice([rng.randrange(size), rng.randrange(min(size, 512)), size - 1 - rng.randrange(min(size, 1024))])
        kind = rng.random()
        if kind < 0.5:
            kept[near] ^= 1 << rng.randrange(8)
        elif kind < 0.7:
            kept[near : near + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", b"../a"])
        elif kind < 0.8:
            del kept[near:]
        elif kind < 0.9:
            kept[near:near] = kept[near : near + rng.randrange(1, 200)]
        else:
            del kept[near : near + rng.randrange(1, 200)]
    return bytes(kept)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Ends what takes longer by an exception that nothing in the project catches."""

    def ring(*_: object) -> None:
        raise AssertionError(f"it was not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fuzz(kind: str, root: Path, cases: int) -> str:
    """Reads so many damaged files of a kind; what came of it, in a line."""
    make, suffix, read = KINDS[kind]
    bases, rng = make(root), random.Random(kind)
    counts, slowest, started = {"read": 0, "refused": 0, "without words": 0}, 0.0, time.monotonic()
    for _ in range(cases):
        path = root / f"case{suffix}"
        path.write_bytes(damaged(rng.choice(bases), rng))
        before = time.monotonic()
        try:
            with within(SECONDS):
                read(path)
            counts["read"] += 1
        except FaceVeilError as error:
            counts["refused" if len(str(error).split()) > 3 else "without words"] += 1
        slowest = max(slowest, time.monotonic() - before)
    assert not counts.pop("without words")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{kind}: {cases} files, {counts}, slowest {slowest:.2f} s, peak {peak:.0f} MB, {time.monotonic() - started:.0f} s"


@pytest.mark.parametrize("kind", ["weights", "photos"])  # of submissions there is such a test beside the intake's
def test_damaged_files_are_refused_in_words(kind: str, tmp_path: Path) -> None:
    assert f"{kind}: 8 files" in fuzz(kind, tmp_path, 8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_damaged_files_are_refused_in_words(kind: str, tmp_path: Path) -> None:
    print("\n" + fuzz(kind, tmp_path, CASES))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 < MOST_MB


def test_a_photo_whose_name_begins_with_a_zero_byte_is_no_fault(tmp_path: Path) -> None:
    """Python's zipfile cuts names there, and asks an empty one for its last letter."""
    (data,) = photo_sets(tmp_path)
    (tmp_path / "set.zip").write_bytes(data.replace(b"person0/0.png", b"\x00erson0/0.png"))
    assert len(open_faces(tmp_path / "set.zip")) >= 5


def test_a_zip_of_a_version_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    (data,) = photo_sets(tmp_path)
    entry = data.index(b"PK\x01\x02")
    (tmp_path / "set.zip").write_bytes(data[: entry + 6] + b"\xff" + data[entry + 7 :])
    with pytest.raises(FaceVeilError, match="damaged zip"):
        open_faces(tmp_path / "set.zip")
