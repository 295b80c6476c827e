"""Uploads, hostile ones above all: each refused with its own message, nothing outside quarantine, the service alive."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import misbehaving
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from submission_factory import edit_card, make_submission

from benchmark.service.checker import Examiner
from benchmark.service.intake import Intake
from benchmark.service.jobs import Job, LimitError, State
from benchmark.service.limits import Limits
from benchmark.service.quarantine import DiskFullError, Quarantine, QuarantineError, TooLargeError
from benchmark.service.store import Store
from benchmark.service.teams import Team
from benchmark.submissions.report import Report
from benchmark.submissions.validation import validate

LIMITS = Limits(uploads_per_hour=10_000, open_jobs=10_000, upload_bytes=4 * 2**20)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "entry"
    make_submission(folder)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "entry")


class Service:
    """A store, a quarantine, and a team that hands in."""

    def __init__(self, root: Path, check: Callable[[Path], Report] | None) -> None:
        self.root = root
        root.mkdir()
        self.store = Store(root / "store.sqlite", limits=LIMITS)
        self.quarantine = Quarantine(root / "quarantine")
        self.intake = Intake(self.store, self.quarantine, check)
        self.team = self.team_of("testers")

    def team_of(self, name: str) -> Team:
        return self.store.teams.authenticate(self.store.teams.add(name))

    def submit(self, data: bytes) -> Job:
        return self.intake.submit(self.team, io.BytesIO(data), len(data))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The checks run in this process, where they are quick; :func:`apart` has the real thing."""
    service = Service(tmp_path / "service", validate)
    yield service
    service.store.close()


@pytest.fixture(scope="module")
def hostile_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all hostile uploads, which must live through them."""
    service = Service(tmp_path_factory.mktemp("hostile") / "service", validate)
    yield service
    service.store.close()


def zipped(folder: Path, compress: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    """A folder as a zip, with further files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compress) as archive:
        for name in sorted(os.listdir(folder)):
            archive.write(folder / name, name)
        for name, data in more.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_a_good_upload_is_checked_and_its_zip_kept_as_it_came(service: Service, folder: Path) -> None:
    data = zipped(folder)
    job = service.submit(data)
    assert (job.state, job.problems, job.name, job.size) == (State.VALIDATED, (), "tiny", len(data))
    path = service.quarantine.path(job.id)
    assert path.read_bytes() == data
    assert service.quarantine.folder.stat().st_mode & 0o077 == 0, "others cannot read what was uploaded"
    assert os.listdir(service.quarantine.folder) == [path.name]
    assert service.intake.withdraw(job.id, service.team).state == State.WITHDRAWN
    assert not path.exists()


def test_pieces_of_any_size_are_one_upload(service: Service, folder: Path) -> None:
    data = zipped(folder)
    job = service.intake.submit(service.team, (data[i : i + 999] for i in range(0, len(data), 999)))
    assert (job.state, job.size) == (State.VALIDATED, len(data))


# Hostile uploads: what is handed in, and the code of the one problem for which it is refused


def bomb(folder: Path) -> bytes:
    return zipped(folder, zipfile.ZIP_DEFLATED, **{"head.safetensors": bytes(64 * 2**20)})


def link(folder: Path) -> bytes:
    out = io.BytesIO(zipped(folder))
    with zipfile.ZipFile(out, "a") as archive:
        info = zipfile.ZipInfo("head.safetensors")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, b"/etc/passwd")
    return out.getvalue()


def million(folder: Path) -> bytes:
    """A zip whose listing claims a million files."""
    name = b"a"
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + name
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + name
    directory = entry * 50_000
    return local + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), len(local), 0)


def weights(change: Callable[[Path], None]) -> Callable[[Path], bytes]:
    def spoil(folder: Path) -> bytes:
        change(folder / "model.safetensors")
        return zipped(folder)

    return spoil


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def header(path: Path, length: int) -> None:
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])


def tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        values = load_file(path)
        change(values)
        save_file(values, path)

    return spoil


def first(values: dict[str, torch.Tensor]) -> str:
    return next(name for name, tensor in sorted(values.items()) if tensor.is_floating_point())


def declared(**fields: Any) -> Callable[[Path], None]:
    """Rewrites what the header declares of its first tensor."""

    def spoil(path: Path) -> None:
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        text = json.loads(data[8 : 8 + length])
        name = next(name for name in sorted(text) if name != "__metadata__")
        text[name] |= fields
        raw = json.dumps(text).encode()
        path.write_bytes(struct.pack("<Q", len(raw)) + raw + data[8 + length :])

    return spoil


def nan(values: dict[str, torch.Tensor]) -> None:
    values[first(values)].view(-1)[0] = float("nan")


def infinite(values: dict[str, torch.Tensor]) -> None:
    values[first(values)].view(-1)[0] = float("inf")


def whole(values: dict[str, torch.Tensor]) -> None:
    values[first(values)] = values[first(values)].to(torch.int32)


def card(**changes: Any) -> Callable[[Path], bytes]:
    def spoil(folder: Path) -> bytes:
        edit_card(folder, **changes)
        return zipped(folder)

    return spoil


HOSTILE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "zip bomb": (bomb, "zip_bomb"),
    "symlink": (link, "symlink"),
    "nested archive": (lambda f: zipped(f, **{"inner.zip": b"PK"}), "nested_archive"),
    "a million entries": (million, "too_many_entries"),
    "path outside": (lambda f: zipped(f, **{"../../evil": b"x"}), "parent_path"),
    "absolute path": (lambda f: zipped(f, **{"/etc/cron.d/evil": b"x"}), "absolute_path"),
    "pickle": (lambda f: zipped(f, **{"model.pkl": b"\x80\x04."}), "pickle"),
    "script in a file's name": (lambda f: zipped(f, **{"<script>alert(1)</script>": b"x"}), "folder"),
    "hidden direction in a file's name": (lambda f: zipped(f, **{"\u202enosj.drac": b"x"}), "extra_file"),
    "truncated weights": (weights(cut), "truncated"),
    "header larger than the file": (weights(lambda p: header(p, 2**40)), "truncated"),
    "gigantic header": (weights(lambda p: header(p, p.stat().st_size - 8)), "header"),
    "wrong dtype": (weights(tensors(whole)), "dtype"),
    "made-up dtype": (weights(declared(dtype="__import__('os')")), "dtype"),
    "gigantic shape": (weights(declared(shape=[2**39, 2**39])), "tensor_size"),
    "negative shape": (weights(declared(shape=[-1, 4])), "header"),
    "NaN": (weights(tensors(nan)), "not_finite"),
    "infinity": (weights(tensors(infinite)), "not_finite"),
    "hidden direction in the name": (card(name="a\u202eb"), "field_value"),
    "invisible letters": (card(name="a\u200bb"), "field_value"),
    "NUL in the name": (card(name="a\x00b"), "field_value"),
    "script link": (card(links=["javascript:alert(1)"]), "field_value"),
    "gigantic backbone": (card(backbone={"name": "mobilefacenet", "kwargs": {"width": 8000}}), "backbone_too_large"),
    "backbone from the web": (card(backbone={"name": "resnet18", "kwargs": {"pretrained": True}}), "backbone_kwargs"),
    "backbone by path": (card(backbone={"name": "hf_hub:evil/model", "kwargs": {}}), "unknown_backbone"),
    "another team's name": (card(team="FaceVeil"), "wrong_team"),
    "unknown track": (card(track="../../etc"), "unknown_track"),
    "no zip": (lambda _: b"GIF89a" * 100, "not_a_zip"),
    "nothing": (lambda _: b"", "not_a_zip"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_upload_is_refused_with_its_own_message(hostile_service: Service, folder: Path, case: str) -> None:
    service = hostile_service
    spoil, code = HOSTILE[case]
    before = outside(service)
    job = service.submit(spoil(folder))
    assert job.state == State.REFUSED
    assert code in [problem.code for problem in job.problems], job.problems
    assert all(problem.message and problem.remedy for problem in job.problems)
    assert not any(ord(c) < 32 or ord(c) in (0x202E, 0x200B) for p in job.problems for c in p.message), "safe to print"
    assert os.listdir(service.quarantine.folder) == [], "what was refused is not kept"
    assert outside(service) == before, "nothing was written elsewhere"


def test_after_all_that_it_takes_a_good_one(hostile_service: Service, good: Path) -> None:
    assert hostile_service.submit(zipped(good)).state == State.VALIDATED
    assert hostile_service.store.queue.counts()[State.REFUSED] >= 1


def outside(service: Service) -> list[str]:
    """Every file around the service but its store and its quarantine."""
    found = []
    for root, _, files in os.walk(service.root.parent):
        found += [
            os.path.join(root, name) for name in files if "quarantine" not in root and not name.startswith("store.sqlite")
        ]
    return sorted(found)


def test_script_in_a_name_is_taken_as_text(service: Service, folder: Path) -> None:
    edit_card(folder, name="<script>alert(1)</script>")
    job = service.submit(zipped(folder))
    assert (job.state, job.name) == (State.VALIDATED, "<script>alert(1)</script>")


def test_another_teams_weights_are_refused_whoever_packs_them(service: Service, folder: Path) -> None:
    service.submit(zipped(folder))
    thief = service.team_of("thieves")
    edit_card(folder, team="thieves", name="ours, honestly")
    job = service.intake.submit(thief, io.BytesIO(zipped(folder, zipfile.ZIP_DEFLATED)))
    assert [problem.code for problem in job.problems] == ["duplicate_weights"]


# Sizes, broken uploads, full disks


def test_an_upload_past_the_limit_is_stopped_where_it_passes_it(service: Service) -> None:
    pieces = iter([bytes(2**20)] * 100)
    with pytest.raises(TooLargeError):
        service.intake.submit(service.team, pieces)
    assert len(list(pieces)) == 100 - 5, "it stopped reading"
    (job,) = service.store.queue.jobs()
    assert (job.state, job.problems[0].code) == (State.REFUSED, "too_large")
    assert os.listdir(service.quarantine.folder) == []
    with pytest.raises(LimitError):
        service.intake.submit(service.team, iter([b"x"]), size=5 * 2**20)
    assert len(service.store.queue.jobs()) == 1, "refused before the first byte"


def test_an_upload_that_breaks_off_is_refused_and_leaves_nothing(service: Service) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"PK\x03\x04"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        service.intake.submit(service.team, pieces())
    (job,) = service.store.queue.jobs()
    assert (job.state, job.problems[0].code) == (State.REFUSED, "upload_broken_off")
    assert os.listdir(service.quarantine.folder) == []


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_full_disk_refuses_the_upload_and_says_so(
    service: Service, folder: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if where == "write":
            whole_open = Path.open

            def limited(path: Path, mode: str = "r", *rest: Any) -> Any:
                stream = whole_open(path, mode, *rest)
                return io.BufferedWriter(_Full(stream.detach())) if "x" in mode else stream

            patch.setattr(Path, "open", limited)
        else:
            patch.setattr(os, where, full)
        with pytest.raises(DiskFullError, match="disk for uploads is full"):
            service.submit(zipped(folder))
    (job,) = service.store.queue.jobs()
    assert (job.state, job.problems[0].code) == (State.REFUSED, "disk_full")
    assert os.listdir(service.quarantine.folder) == []
    assert service.submit(zipped(folder)).state == State.VALIDATED


class _Full(io.RawIOBase):
    """A file on a disk that is full."""

    def __init__(self, under: Any) -> None:
        self._under = under

    def writable(self) -> bool:
        return True

    def write(self, _data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        self._under.close()
        super().close()


def test_what_a_killed_server_left_is_swept(service: Service, folder: Path) -> None:
    kept = service.submit(zipped(folder))
    orphan, part = service.quarantine.path("0" * 16), service.quarantine.path("1" * 16).with_suffix(".part")
    stranger = service.quarantine.folder / "readme.txt"
    for file in (orphan, part, stranger):
        file.write_bytes(b"x")
        os.utime(file, (time.time() - 10_000,) * 2)
    fresh = service.quarantine.path("2" * 16)
    fresh.write_bytes(b"x")
    service.intake.sweep()
    assert not orphan.exists()
    assert not part.exists()
    assert fresh.exists(), "its job may be on its way"
    assert stranger.exists(), "not ours"
    assert service.quarantine.path(kept.id).exists()


def test_a_file_that_is_gone_is_told(service: Service, folder: Path) -> None:
    data = zipped(folder)
    job = service.store.queue.open(service.team)
    with service.intake.receiving(job) as incoming:
        incoming.write(data)
    service.quarantine.discard(job.id)
    done = service.intake.check(job.id)
    assert (done.state, done.problems[0].code) == (State.REFUSED, "file_lost")
    with pytest.raises(QuarantineError, match="not the id of a job"):
        service.quarantine.path("../../etc/passwd")


def test_a_file_that_was_damaged_where_it_lies_is_not_laid_at_the_submission_s_door(service: Service, folder: Path) -> None:
    job = service.store.queue.open(service.team)
    with service.intake.receiving(job) as incoming:
        incoming.write(zipped(folder))
    path = service.quarantine.path(job.id)
    path.write_bytes(path.read_bytes()[:1000])
    done = service.intake.check(job.id)
    assert (done.state, done.problems[0].code) == (State.REFUSED, "file_damaged")
    assert "disk" in done.problems[0].message


# The process that the checks run in


@pytest.mark.parametrize(
    ("check", "code"),
    [
        (misbehaving.hang, "check_too_slow"),
        (misbehaving.crash, "check_ended"),
        (misbehaving.hog, "check_memory"),
        (misbehaving.write, "check_failed"),
    ],
)
def test_checks_that_misbehave_refuse_the_submission_alone(tmp_path: Path, check: Any, code: str) -> None:
    examiner = Examiner(seconds=1 if check is misbehaving.hang else 100, memory=2**30, check=check)
    for _ in range(2 if check is misbehaving.crash else 1):  # the second time in a new process
        report = examiner(tmp_path / "x.zip")
        assert [problem.code for problem in report.problems] == [code]
    examiner.close()
    assert not (tmp_path / "escaped").exists() or (tmp_path / "escaped").stat().st_size == 0


def test_the_real_checks_in_their_own_process(tmp_path: Path, folder: Path) -> None:
    examiner = Examiner()
    intake = Intake(Store(tmp_path / "s.sqlite"), Quarantine(tmp_path / "q"), examiner)
    team = intake.store.teams.authenticate(intake.store.teams.add("testers"))
    assert intake.submit(team, io.BytesIO(zipped(folder))).state == State.VALIDATED
    edit_card(folder, colour="blue")
    assert intake.submit(team, io.BytesIO(zipped(folder))).problems[0].code == "unknown_field"
    examiner.close()


# Fuzz: whatever is handed in, the answer is a submission or a refusal


FUZZ = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=10,
)
FIELDS = ["name", "team", "track", "defenses", "backbone", "norm", "embedding_size", "input", "inference", "claim", "links",
          "notes", "training", "additional_data", "seed", "card_version", "licence", "surplus"]  # fmt: skip


def answered(path: Path) -> Report:
    """The report on anything at all: never an exception, never a problem without words."""
    report = validate(path)
    assert report.ok or all(p.code and p.message and p.remedy for p in report.problems)
    Report.model_validate_json(report.model_dump_json())  # and it can be told to another process
    return report


@FUZZ
@given(changes=st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1, max_size=4))
def test_fuzzed_cards_are_answered(good: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = tmp_path / "fuzzed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    edit_card(folder, **changes)
    answered(folder)


@FUZZ
@given(data=st.data())
def test_fuzzed_archives_are_answered(good: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Bytes of a good zip overwritten, removed and put in, most often in its listing and in the header of the weights."""
    raw = bytearray(zipped(good))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 400) | st.integers(len(raw) - 300, len(raw) - 1) | st.integers(0, len(raw) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=8))
        removed = data.draw(st.sampled_from([0, 1, len(piece)]))
        raw[at : at + removed] = piece
    path = tmp_path / "fuzzed.zip"
    path.write_bytes(raw)
    answered(path)
    assert sorted(os.listdir(tmp_path)) == ["fuzzed.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@FUZZ
@given(names=st.lists(st.tuples(st.text(max_size=30), st.binary(max_size=40)), max_size=6))
def test_archives_of_any_names_are_answered(tmp_path: Path, names: list[tuple[str, bytes]]) -> None:
    path = tmp_path / "fuzzed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in names:
            info = zipfile.ZipInfo("x")
            info.filename = name.encode("utf-8", "replace").decode()
            archive.writestr(info, content)
    assert not answered(path).ok
    assert sorted(os.listdir(tmp_path)) == ["fuzzed.zip"]
