"""The process of the checks: what it answers, what kills it, and whose fault that is."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import misbehaving
import pytest
from submission_factory import make_submission

from benchmark.service.checker import CheckerError, Examiner
from benchmark.service.intake import Intake
from benchmark.service.jobs import State
from benchmark.service.limits import Limits
from benchmark.service.quarantine import Quarantine
from benchmark.service.store import Store


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    path = tmp_path / "x.zip"
    path.write_bytes(b"PK")
    return path


@pytest.fixture
def examiner(request: pytest.FixtureRequest) -> Iterator[Examiner]:
    examiner = Examiner(seconds=20, check=request.param)
    yield examiner
    examiner.close()


@pytest.mark.parametrize("examiner", [misbehaving.unreadable], indirect=True)
def test_a_report_that_cannot_be_read_is_a_refusal(examiner: Examiner, zipped: Path) -> None:
    """It was a poison pill: one worker after another ended over it."""
    report = examiner(zipped)
    assert [problem.code for problem in report.problems] == ["check_unreadable"]


@pytest.mark.parametrize("examiner", [misbehaving.crash_once], indirect=True)
def test_what_a_second_process_accepts_is_accepted(examiner: Examiner, zipped: Path) -> None:
    assert examiner(zipped).ok
    assert (zipped.parent / "crashed").exists()


@pytest.mark.parametrize("examiner", [misbehaving.crash], indirect=True)
def test_what_ends_two_processes_is_refused(examiner: Examiner, zipped: Path) -> None:
    assert [problem.code for problem in examiner(zipped).problems] == ["check_ended"]


@pytest.mark.parametrize("examiner", [misbehaving.killed], indirect=True)
def test_a_killed_process_is_nobodys_fault(examiner: Examiner, zipped: Path) -> None:
    with pytest.raises(CheckerError, match="killed"):
        examiner(zipped)


def test_a_process_that_cannot_start_is_nobodys_fault(zipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examiner = Examiner(check=misbehaving.crash)

    def no_process() -> None:
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(examiner, "_started", no_process)
    with pytest.raises(CheckerError, match="cannot be started"):
        examiner(zipped)


def test_a_job_whose_checks_were_killed_keeps_its_file_and_waits(tmp_path: Path) -> None:
    clock = [1000.0]
    store = Store(tmp_path / "s.sqlite", limits=Limits(), clock=lambda: clock[0])
    team = store.teams.authenticate(store.teams.add("testers"))
    examiner = Examiner(check=misbehaving.slow)
    intake = Intake(store, Quarantine(tmp_path / "q"), examiner)
    ended = threading.Event()

    def assassin() -> None:
        while not ended.wait(0.02):
            process = examiner._process
            if process is not None and process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)

    thread = threading.Thread(target=assassin)
    thread.start()
    try:
        job = intake.submit(team, io.BytesIO(b"PK"))
    finally:
        ended.set()
        thread.join()
    assert job.state == State.QUARANTINED
    assert intake.quarantine.path(job.id).exists()
    assert store.leases.claim("w") is None, "not at once again"
    clock[0] += 60
    assert intake.check(job.id).state == State.VALIDATED
    examiner.close()


def test_the_first_submission_of_a_fresh_process_is_checked_as_every_later_one(tmp_path: Path) -> None:
    """Torch looks for a temporary folder when it first builds a network without memory; a confined process finds none."""
    script = (
        "import sys, tempfile\n"
        "from pathlib import Path\n"
        "from benchmark.service.checker import _confine\n"
        "from benchmark.submissions.validation import load_all, validate\n"
        "load_all()\n"
        "_confine(2**33)\n"
        "print([problem.code for problem in validate(Path(sys.argv[1])).problems])\n"
    )
    make_submission(tmp_path / "entry")
    ran = subprocess.run([sys.executable, "-c", script, str(tmp_path / "entry")], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
