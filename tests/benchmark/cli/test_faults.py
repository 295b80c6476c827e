"""Commands under faults of disk, memory, readers and signals: one sentence with its remedy, nothing half-written."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from record_factory import make_record
from submission_factory import make_submission
from tiny_world import command

from benchmark.cli import listing
from benchmark.cli.entry import main
from benchmark.cli.faults import expand_tildes
from benchmark.evaluation.sweep.file import Block
from benchmark.runtime import atomic
from benchmark.runtime.atomic import replacing, write_text
from benchmark.runtime.disk import disk_is_full, disk_problem
from benchmark.service.store import Store, store_location
from leaderboard.board.library import library


def exit_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["faceveil", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def raising(error: BaseException) -> Callable[..., None]:
    def maker(*_: object, **__: object) -> None:
        raise error

    return maker


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/b.npy"), "the disk of /a is full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"), "is full: free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "/a/b cannot be used: you may not"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), "its disk is read-only"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/a/b"), "a part of it is a file"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/a/b"), "/a/b does not exist"),
        (OSError(errno.EIO, "Input/output error", "/a/b"), "its disk failed"),
        (OSError(errno.EMFILE, "Too many open files", "/a/b"), "ulimit"),
        (MemoryError(), "not enough memory"),
        (ImportError("libtorch.so: failed to map segment from shared object"), "not enough memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
            "not enough memory",
        ),
    ],
)
def test_a_fault_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    monkeypatch.setattr(listing, "_tracks", raising(error))
    assert exit_of(monkeypatch, "list", "tracks") == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert len(captured.err.splitlines()) == 1


def test_a_folder_that_is_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    assert exit_of(monkeypatch, "store", "export", "--out", "x.json") == 1
    assert "the folder in which this was started is gone" in capsys.readouterr().err


def test_without_any_input_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_submission(tmp_path / "entry")
    monkeypatch.setattr(sys, "stdin", None)  # as `faceveil submit entry <&-` has it
    assert exit_of(monkeypatch, "submit", str(tmp_path / "entry")) == 1
    assert "pass --yes to agree" in " ".join(capsys.readouterr().err.split())


def test_a_fault_of_ours_is_no_fault_of_the_disk() -> None:
    assert disk_problem(ValueError("x")) is None
    assert disk_problem(KeyError("No such key")) is None
    assert not disk_is_full(RuntimeError("shape mismatch"))


@pytest.mark.parametrize(
    "arguments", [("train", "--track", "synthetic-smoke", "--out", "OUT"), ("store", "list")], ids=["train", "store"]
)
def test_a_home_that_cannot_be_written_names_folder_remedy_and_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path / "file" / "home"))
    assert exit_of(monkeypatch, *(argument.replace("OUT", str(tmp_path / "run")) for argument in arguments)) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "file") in said
    assert "FACEVEIL_HOME" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("data", "export", "--track", "synthetic-smoke", "--out"),
        ("store", "export", "--out"),
        ("store", "backup"),
        pytest.param(("leaderboard", "--static"), marks=pytest.mark.slow),
    ],
    ids=["data export", "store export", "store backup", "leaderboard"],
)
def test_an_output_below_a_file_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path / "home"))
    assert exit_of(monkeypatch, *arguments, str(tmp_path / "file" / "out")) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert str(tmp_path / "file") in said
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_leaves_no_half_written_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="No space left") as full:
        write_full(tmp_path / "x.json")
    assert full.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="checkpoint") as full, replacing(tmp_path / "checkpoint.pt"):
        torch.save({"a": torch.zeros(10**6)}, "/dev/full")
    assert disk_is_full(full.value)
    monkeypatch.setattr(atomic, "_sync", raising(FULL))
    with pytest.raises(OSError, match="y"):
        write_text(tmp_path / "y", "text")
    assert list(tmp_path.iterdir()) == []


def test_what_was_to_be_written_is_named_and_not_its_passing_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as full:
        write_text(Path("/dev/full"), "text")
    assert full.value.filename == "/dev/full"
    said = disk_problem(full.value)
    assert said is not None
    assert said.startswith("the disk of /dev is full")
    if Path("/proc/self").exists():
        with pytest.raises(OSError, match=r"/proc/x\.json") as nowhere:
            write_text(Path("/proc/x.json"), "text")
        assert nowhere.value.filename == "/proc/x.json"


def write_full(path: Path) -> None:
    with replacing(path), open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_what_cannot_be_printed_is_told(form: list[str]) -> None:
    arguments = [*command(), "list", "tracks", *form]
    with open("/dev/full", "w") as full:
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["error: what is printed cannot be written: No space left on device."]


def test_a_terminal_of_no_width_shows_everything() -> None:
    environment = {**os.environ, "COLUMNS": "0"}
    done = subprocess.run([*command(), "list", "tracks"], capture_output=True, env=environment, text=True, check=True)
    assert "synthetic-64" in done.stdout


def test_what_is_written_to_is_named_and_links_and_pipes_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory") as error:
        write_text(tmp_path / "folder", "x")
    assert error.value.filename == str(tmp_path / "folder")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_text(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "x"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "text")
    assert os.read(reader, 9) == b"text"
    os.close(reader)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "pipe", "target"]


def test_tildes_are_expanded_in_configured_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FACEVEIL_STORE_URL", "~/boards/store.sqlite")
    assert store_location() == str(tmp_path / "boards" / "store.sqlite")
    monkeypatch.setenv("FACEVEIL_STORE_URL", "postgresql://host/~db")
    assert store_location() == "postgresql://host/~db"
    block = Block.model_validate({"data": "~/faces#people=top", "init": [None, "~/x.pth"]})
    assert block.data == (tmp_path / "faces#people=top",)
    assert block.init == (None, tmp_path / "x.pth")
    monkeypatch.setenv("FACEVEIL_RECORDS", "~/records")
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "one.json").write_text(make_record("mine").model_dump_json())
    board = library(str(tmp_path / "s.sqlite")).board()
    assert [entry.label for entry in board.entries.values()] == ["mine"]


def test_tildes_are_expanded_where_a_shell_leaves_them() -> None:
    home = os.path.expanduser("~")
    given = ["train", "--out=~/x", "~", "~/y#people=top", "a~/b", "--name", "x=~/z", "~other/x", "-o=~"]
    expected = ["train", f"--out={home}/x", home, f"{home}/y#people=top", "a~/b", "--name", "x=~/z", "~other/x", f"-o={home}"]
    assert expand_tildes(given) == expected


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_names_of_any_script_are_printed_on_any_console(tmp_path: Path, encoding: str) -> None:
    store = ["--store", str(tmp_path / "s.sqlite")]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    with closing(Store(tmp_path / "s.sqlite")) as filled:
        filled.add_record(make_record("Đặng 名前"))
    done = subprocess.run([*command(), "store", "list", *store], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_fault(tmp_path: Path) -> None:
    process = subprocess.Popen([*command(), "list", "attacks", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=120)
    assert b"Traceback" not in said
    assert b"BrokenPipe" not in said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_moment_ends_in_words_and_the_run_resumes_equal(tmp_path: Path, number: int) -> None:
    """Trainings are ended at random moments until one is done; its weights are those of a run that was left alone."""
    rng = random.Random(int(number))
    run = [*command(), "train", "--track", "synthetic-smoke", "--out"]

    def environment(name: str) -> dict[str, str]:
        return {**os.environ, "FACEVEIL_HOME": str(tmp_path / name)}

    subprocess.run([*run, str(tmp_path / "alone")], check=True, env=environment("h1"), capture_output=True)
    for _ in range(50):
        process = subprocess.Popen([*run, str(tmp_path / "often")], env=environment("h2"), stderr=subprocess.PIPE)
        try:
            process.wait(rng.uniform(1, 12))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        begun = time.monotonic()
        said = process.communicate(timeout=60)[1]
        assert time.monotonic() - begun < 10
        assert b"Traceback" not in said
        if process.returncode == 0:
            break
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("alone", "often")]
    assert weights[0] == weights[1]
    assert not list((tmp_path / "h2").rglob("*.part"))
