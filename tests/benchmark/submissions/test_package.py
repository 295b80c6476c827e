"""Hostile folders and zips: each refused with its own code, nothing unpacked, nothing read without bound."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from submission_factory import make_submission

from benchmark.submissions import package
from benchmark.submissions.problems import PackagingError, SubmissionError, WeightsError
from benchmark.submissions.submission import load_submission, pack_zip
from benchmark.submissions.validation import validate


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "entry"
    make_submission(folder, head={"weight": torch.ones(4, 16)})
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "entry")


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


def only(path: Path) -> str:
    """The code of the one problem for which a submission is refused."""
    with pytest.raises(SubmissionError) as caught:
        load_submission(path)
    assert len(caught.value.problems) == 1, caught.value
    problem = caught.value.problems[0]
    assert problem.message
    assert problem.remedy
    assert validate(path).problems == caught.value.problems
    return problem.code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("weights.pkl", "pickle"),
        ("model.pt", "pickle"),
        ("model.bin", "pickle"),
        ("more.zip", "nested_archive"),
        ("more.tar.gz", "nested_archive"),
        ("setup.py", "extra_file"),
        ("notes.txt", "extra_file"),
        ("Model.safetensors", "extra_file"),
    ],
)
def test_files_that_do_not_belong_are_refused(folder: Path, name: str, code: str) -> None:
    (folder / name).write_bytes(b"x")
    assert only(folder) == code


LITTER = (
    "__MACOSX/._card.json",
    "__MACOSX/entry/._model.safetensors",
    ".DS_Store",
    "entry/.DS_Store",
    "Thumbs.db",
    "._card.json",
)


@pytest.mark.parametrize("inside", [True, False], ids=["in a folder", "at the top"])
def test_what_systems_add_to_a_zip_is_ignored_and_one_folder_around_it_too(folder: Path, tmp_path: Path, inside: bool) -> None:
    path = tmp_path / "entry.zip"
    with zipfile.ZipFile(path, "w") as archive:
        if inside:
            archive.writestr("entry/", b"")
        for file in folder.iterdir():
            archive.write(file, f"entry/{file.name}" if inside else file.name)
        for name in LITTER if inside else [name for name in LITTER if not name.startswith("entry/")]:
            archive.writestr(name, b"Mac OS X")
    assert load_submission(path).submission_id == load_submission(folder).submission_id
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    load_submission(folder)


def test_files_in_many_folders_are_one_complaint(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(50):
            archive.writestr(f"person{number}/photo", b"x")
    with pytest.raises(PackagingError) as found:
        load_submission(path)
    assert [problem.code for problem in found.value.problems].count("folder") == 1
    assert "50 files are folders or lie in one" in str(found.value)


def test_links_pipes_and_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes((folder / "head.safetensors").read_bytes())
    (folder / "head.safetensors").unlink()
    (folder / "head.safetensors").symlink_to(tmp_path / "secret")
    assert only(folder) == "symlink"
    (folder / "head.safetensors").unlink()
    os.mkfifo(folder / "head.safetensors")
    assert only(folder) == "not_a_file"
    (folder / "head.safetensors").unlink()
    (folder / "head.safetensors").mkdir()
    assert only(folder) == "not_a_file"


def test_a_pipe_put_in_place_after_the_listing_does_not_block(folder: Path) -> None:
    with package.open_package(folder) as opened:
        (folder / "card.json").unlink()
        os.mkfifo(folder / "card.json")
        with pytest.raises(PackagingError, match="not_a_file"):
            opened.sources["card.json"].read()


def test_missing_files_and_paths_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert only(folder) == "missing_file"
    assert only(tmp_path / "nowhere") == "not_found"
    (tmp_path / "text").write_text("hello")
    assert only(tmp_path / "text") == "not_a_zip"


def test_a_folder_of_many_files_is_refused(folder: Path) -> None:
    for number in range(package.MAX_ENTRIES):
        (folder / f"{number}.txt").touch()
    assert only(folder) == "too_many_entries"


def test_files_past_their_bound_are_refused_unread(folder: Path) -> None:
    (folder / "card.json").write_bytes(b" " * (package.MAX_BYTES["card.json"] + 1))
    assert only(folder) == "too_large"
    with (folder / "card.json").open("wb") as stream:
        stream.truncate(2**40)  # sparse: a terabyte that takes no disk
    assert only(folder) == "too_large"


def rezip(folder: Path, out: Path, change: Callable[[zipfile.ZipFile], None], compress: int = zipfile.ZIP_STORED) -> Path:
    """The submission as a zip, with something added."""
    with zipfile.ZipFile(out, "w", compress) as target:
        for name in sorted(os.listdir(folder)):
            target.write(folder / name, name)
        change(target)
    return out


def test_zips_of_other_tools_are_read(folder: Path, tmp_path: Path) -> None:
    path = rezip(folder, tmp_path / "a.zip", lambda _: None, zipfile.ZIP_DEFLATED)
    assert load_submission(path).submission_id == load_submission(folder).submission_id


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("/etc/cron.d/x", "absolute_path"),
        ("C:\\x.json", "absolute_path"),
        ("\\\\server\\x", "absolute_path"),
        ("../card.json", "parent_path"),
        ("a/../../card.json", "parent_path"),
        ("..\\card.json", "parent_path"),
        ("entry/card.json", "folder"),
        ("entry/", "folder"),
        ("inner.zip", "nested_archive"),
        ("model.pkl", "pickle"),
        ("readme.md", "extra_file"),
        ("card.json\x00.txt", "extra_file"),
        ("\u202ecard.json", "extra_file"),
    ],
)
def test_names_in_a_zip_are_refused(folder: Path, tmp_path: Path, name: str, code: str) -> None:
    info = zipfile.ZipInfo("placeholder")
    info.filename = name  # the constructor would cut it at the NUL byte
    assert only(rezip(folder, tmp_path / "a.zip", lambda z: z.writestr(info, b"{}"))) == code
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "entry"], "nothing was written"


def test_a_link_in_a_zip_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "head.safetensors").unlink()
    info = zipfile.ZipInfo("head.safetensors")
    info.external_attr = 0o120777 << 16
    assert only(rezip(folder, tmp_path / "a.zip", lambda z: z.writestr(info, b"/etc/passwd"))) == "symlink"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_twice_in_a_zip_is_refused(folder: Path, tmp_path: Path) -> None:
    assert only(rezip(folder, tmp_path / "a.zip", lambda z: z.writestr("card.json", b"{}"))) == "duplicate_file"


def test_a_zip_bomb_is_refused_unread(folder: Path, tmp_path: Path) -> None:
    (folder / "head.safetensors").unlink()

    def bomb(target: zipfile.ZipFile) -> None:
        with target.open("head.safetensors", "w") as stream:
            for _ in range(64):
                stream.write(bytes(2**20))

    path = rezip(folder, tmp_path / "a.zip", bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    assert only(path) == "zip_bomb"
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()


def patched(path: Path, name: str, **fields: int) -> Path:
    """Changes declared sizes in the central directory entry of one file."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(name.encode()))
    for key, value in fields.items():
        offset, form = {"compressed": (20, "<I"), "size": (24, "<I"), "flags": (8, "<H"), "method": (10, "<H")}[key]
        struct.pack_into(form, data, at + offset, value)
    path.write_bytes(bytes(data))
    return path


def test_sizes_that_lie_are_refused(folder: Path, tmp_path: Path) -> None:
    path = rezip(folder, tmp_path / "a.zip", lambda _: None, zipfile.ZIP_DEFLATED)
    original = path.read_bytes()
    true_size = (folder / "card.json").stat().st_size
    assert only(patched(path, "card.json", size=true_size - 10)) == "damaged"
    path.write_bytes(original)
    assert only(patched(path, "card.json", size=true_size + 10)) == "truncated"
    path.write_bytes(original)
    assert only(patched(path, "model.safetensors", size=2**32 - 2, compressed=2**28)) == "too_large"


@pytest.mark.parametrize(("fields", "code"), [({"flags": 1}, "encrypted"), ({"method": 14}, "compression")])
def test_encrypted_and_exotic_zips_are_refused(folder: Path, tmp_path: Path, fields: dict[str, int], code: str) -> None:
    path = rezip(folder, tmp_path / "a.zip", lambda _: None)
    assert only(patched(path, "card.json", **fields)) == code


def test_a_million_entries_are_refused_at_once(tmp_path: Path) -> None:
    """Central directory and end record only: writing a million real entries would be the slow part."""
    name = b"a"
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0) + name
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0) + name
    count, directory = 10**6, entry * 10**6
    honest = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), len(local), 0)
    lying = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), len(local), 0)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(directory), len(local))
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(local) + len(directory), 1)
    small = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 47, len(local), 0)
    path = tmp_path / "a.zip"
    for tail in (honest, lying, record + locator + small):
        path.write_bytes(local + directory + tail)
        start = time.perf_counter()
        assert only(path) == "too_many_entries"
        assert time.perf_counter() - start < 1


def test_zips_with_something_before_or_behind_are_refused(folder: Path, tmp_path: Path) -> None:
    path = pack_zip(folder, tmp_path / "a.zip")
    data = path.read_bytes()
    for spoiled in (b"#!/bin/sh\n" + data, data + b"x", data[:-30], data[: len(data) // 2]):
        path.write_bytes(spoiled)
        assert only(path) == "not_a_zip"


def test_nothing_is_ever_unpickled(folder: Path, tmp_path: Path) -> None:
    traps = [pickle.dumps(Bomb(tmp_path / "boom"), protocol) for protocol in (2, 4)]
    saved = io.BytesIO()
    torch.save({"weight": torch.zeros(1)}, saved)
    for trap in [*traps, saved.getvalue()]:
        (folder / "model.safetensors").write_bytes(trap)
        assert only(folder) == "pickle"
    assert not (tmp_path / "boom").exists()


def weights(folder: Path, header: object, data: bytes = b"", length: int | None = None) -> str:
    """Writes ``model.safetensors`` from its parts; returns the code for which it is refused."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return only(folder)


def tensor(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_safetensors_headers_that_lie_are_refused(folder: Path) -> None:
    assert weights(folder, b"", length=2**63) == "truncated"
    assert weights(folder, {}, length=10**6) == "truncated"
    assert weights(folder, b" " * (5 * 2**20)) == "header_too_large"
    assert weights(folder, b"[" * 10**6) == "header"
    assert weights(folder, b'{"a": 1' + b"1" * 10_000 + b"}") == "header"
    assert weights(folder, []) == "header"
    assert weights(folder, {}) == "tensor_count"
    assert weights(folder, {"a": 1}) == "header"
    assert weights(folder, {"__metadata__": {"a": 1}, "a": tensor([1], 0, 4)}, bytes(4)) == "header"
    assert weights(folder, b'{"a": {}, "a": {}}') == "duplicate_tensor"
    assert weights(folder, {"a b": tensor([1], 0, 4)}, bytes(4)) == "tensor_name"
    assert weights(folder, {"\ud800": tensor([1], 0, 4)}, bytes(4)) == "tensor_name"
    assert weights(folder, {"a": tensor([-1], 0, 4)}, bytes(4)) == "header"
    assert weights(folder, {"a": tensor([True], 0, 4)}, bytes(4)) == "header"
    assert weights(folder, {"a": tensor([1] * 9, 0, 4)}, bytes(4)) == "header"
    assert weights(folder, {"a": tensor([2**39, 2**39], 0, 4)}, bytes(4)) == "tensor_size"
    assert weights(folder, {"a": tensor([2**30], 0, 2**32)}, bytes(4)) == "truncated"
    assert weights(folder, {"a": tensor([1], 0, 4, "PICKLE")}, bytes(4)) == "dtype"
    assert weights(folder, {"a": tensor([1], 0, 4), "b": tensor([1], 0, 4)}, bytes(4)) == "layout"
    assert weights(folder, {"a": tensor([1], 0, 4), "b": tensor([1], 8, 12)}, bytes(12)) == "layout"
    assert weights(folder, {"a": tensor([1], 0, 4)}, bytes(400)) == "layout"
    assert weights(folder, {f"t{i}": tensor([0], 0, 0) for i in range(5_001)}) == "tensor_count"


def test_other_files_in_the_place_of_weights_are_told_apart(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert only(folder) == "lfs_pointer"
    (folder / "model.safetensors").write_bytes(b"")
    assert only(folder) == "truncated"


def test_truncated_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert only(folder) == "truncated"


def test_weights_that_change_while_they_are_read_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.submissions import submission

    read_header = submission.read_header

    def swap(source: package.PackageFile) -> object:
        header = read_header(source)
        data = bytearray((folder / source.name).read_bytes())
        data[20] ^= 1
        (folder / source.name).write_bytes(bytes(data))
        return header

    monkeypatch.setattr(submission, "read_header", swap)
    with pytest.raises(WeightsError, match="changed"):
        load_submission(folder)


@pytest.fixture(scope="module")
def zipped(good: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, str]:
    """Where a zip may be written, the bytes of a good one, and its identity."""
    path = pack_zip(good, tmp_path_factory.mktemp("fuzz") / "a.zip")
    return path, path.read_bytes(), load_submission(path).submission_id


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_spoiled_zip_is_read_the_same_or_refused(zipped: tuple[Path, bytes, str], data: st.DataObject) -> None:
    """Bytes flipped, cut out or put in anywhere: no other exception than a refusal, no other submission than the true one."""
    path, original, identity = zipped
    content = bytearray(original)
    # aim at the structure (start, end, headers), which a uniform choice would hardly ever hit
    ends = st.integers(0, 300) | st.integers(len(content) - 300, len(content) - 1) | st.integers(0, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        at = min(data.draw(ends), len(content) - 1)
        kind = data.draw(st.sampled_from(["flip", "cut", "put"]))
        if kind == "flip":
            content[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del content[at : at + data.draw(st.integers(1, 64))]
        else:
            content[at:at] = data.draw(st.binary(min_size=1, max_size=64))
    path.write_bytes(bytes(content))
    try:
        loaded = load_submission(path)
        same = loaded.submission_id == identity
    except SubmissionError as error:
        same = all(problem.code and problem.remedy for problem in error.problems)
    assert same
