"""Workers and servers killed at any moment, stores that lock or vanish, full disks: nothing lost, nothing doubled, all told."""

from __future__ import annotations

import errno
import hashlib
import io
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from card_factory import make_card
from record_factory import make_record

from benchmark.interfaces import FaceVeilError
from benchmark.records.record import Record
from benchmark.runtime.interrupts import ending_soon
from benchmark.runtime.memory import limit_memory, out_of_memory
from benchmark.runtime.step_cache import Pieces
from benchmark.service.intake import Intake
from benchmark.service.jobs import Job, State
from benchmark.service.limits import Limits
from benchmark.service.quarantine import Quarantine
from benchmark.service.store import Store
from benchmark.service.worker import DiskFullHereError, JobReporter, Worker
from benchmark.submissions.report import Report

LIMITS = Limits(lease_seconds=0.8, attempts=1000, uploads_per_hour=10_000, open_jobs=10_000)
PIECES = 4  # of a tiny evaluation
FORK = multiprocessing.get_context("fork")  # starts at once


def check(path: Path) -> Report:
    """Takes everything; other bytes, other weights."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Report(path="x", submission_id=digest, weights_sha256=digest, card=make_card())


class Place:
    """Where everything of one test lies."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.location = root / "store.sqlite"
        self.quarantine = Quarantine(root / "quarantine")

    def store(self, **settings: Any) -> Store:
        return Store(self.location, limits=LIMITS, **settings)

    def fill(self, jobs: int) -> list[str]:
        """Jobs in the queue."""
        store = self.store()
        team = store.teams.authenticate(store.teams.add("testers"))
        intake = Intake(store, self.quarantine, check)
        names = [intake.submit(team, io.BytesIO(f"zip {n}".encode())).id for n in range(jobs)]
        for name in names:
            store.queue.enqueue(name, team)
        store.close()
        return names

    def evaluate(self, _path: Path, job: Job, progress: JobReporter) -> Record:
        """A tiny evaluation in pieces, each noted when it is computed: what a worker is given instead of the standard one."""
        pieces = Pieces(self.root / "pieces" / job.id)
        for number in range(PIECES):
            progress.step(f"piece {number}")
            pieces.get(str(number), lambda: self._compute(job))
        return make_record(name=job.id)

    def _compute(self, job: Job) -> int:
        with (self.root / "computed.txt").open("a") as log:
            log.write(f"{job.id}\n")
        time.sleep(0.02)
        return 1

    def worker(self, evaluate: Callable[..., Record] | None = None, **settings: Any) -> Worker:
        store = self.store(**settings)
        return Worker(store, Intake(store, self.quarantine, check), evaluate or self.evaluate)

    def run(self) -> None:
        """A worker in a process of its own, until there is nothing left."""
        self.worker().run(pause=0.05)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def kill_workers(place: Place, jobs: int, kills: int, seed: int) -> None:
    """Two workers, one of them killed and replaced again and again, at random moments; the last ones finish."""
    rng = random.Random(seed)
    names = place.fill(jobs)
    workers = [FORK.Process(target=place.run) for _ in range(2)]
    for worker in workers:
        worker.start()
    for number in range(kills):
        time.sleep(rng.uniform(0.0, 0.15))
        kill(workers[number % 2])
        workers[number % 2] = FORK.Process(target=place.run)
        workers[number % 2].start()
    store = place.store()
    deadline = time.monotonic() + 240
    while store.queue.counts()[State.PUBLISHED] < jobs and time.monotonic() < deadline:
        time.sleep(0.1)
    for worker in workers:
        kill(worker)
    assert store.queue.counts()[State.PUBLISHED] == jobs
    assert sorted(record.card.name for record in store.records()) == sorted(names), "none lost, none doubled"
    for name in names:
        states = [event.state for event in store.queue.log(name, last=10_000)]
        assert states.count(State.PUBLISHED) == 1
        assert states[-1] == State.PUBLISHED
    computed = Counter((place.root / "computed.txt").read_text().split())
    assert set(computed) == set(names)
    # what was finished is not done again: a kill costs the piece in hand, no more; a lease lost to a pause may cost one, too
    assert sum(computed.values()) <= jobs * PIECES + 2 * kills + 2
    store.close()


def test_killed_workers_lose_and_double_nothing(place: Place) -> None:
    kill_workers(place, jobs=4, kills=5, seed=0)


@pytest.mark.slow
def test_fifty_killed_workers_lose_and_double_nothing(place: Place) -> None:
    kill_workers(place, jobs=40, kills=60, seed=1)


def upload(place: Place, number: int) -> None:
    """A server that takes an upload in, slowly enough to be killed in the middle."""

    def pieces() -> Iterator[bytes]:
        for part in range(8):
            time.sleep(0.005)
            yield f"{number} {part} ".encode() * 100

    store = place.store()
    Intake(store, place.quarantine, check).submit(store.teams.local(), pieces())


def kill_servers(place: Place, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    place.store().teams.local()
    place.quarantine.folder.mkdir()
    for number in range(kills):
        server = FORK.Process(target=upload, args=(place, number))
        server.start()
        time.sleep(rng.uniform(0.0, 0.4))
        kill(server)
    time.sleep(LIMITS.lease_seconds + 0.1)  # leases of checks that were begun run out
    store = place.store()
    store.queue.limits = Limits(upload_seconds=1e-6)
    intake = Intake(store, place.quarantine, check)
    intake.sweep()
    worker = Worker(store, intake, place.evaluate)
    while worker.once((State.QUARANTINED,)) is not None:
        pass
    jobs = store.queue.jobs(limit=10_000)
    assert {job.state for job in jobs} <= {State.VALIDATED, State.REFUSED}
    for job in jobs:
        path = place.quarantine.path(job.id)
        if job.state == State.VALIDATED:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == job.sha256, "whole"
        else:
            assert job.problems[0].code == "upload_broken_off"
            assert not path.exists()
    whole = {place.quarantine.path(job.id).name for job in jobs if job.state == State.VALIDATED}
    assert {file.name for file in place.quarantine.folder.iterdir()} == whole, "nothing is left over"


def test_killed_servers_leave_whole_uploads_or_none(place: Place) -> None:
    kill_servers(place, kills=6, seed=0)


@pytest.mark.slow
def test_fifty_killed_servers_leave_whole_uploads_or_none(place: Place) -> None:
    kill_servers(place, kills=50, seed=1)


# What an evaluation may end with


def raising(error: BaseException) -> Callable[..., Record]:
    def evaluate(*_: Any) -> Record:
        raise error

    return evaluate


def test_what_the_submitter_can_mend_is_told(place: Place) -> None:
    place.fill(1)
    job = place.worker(raising(FaceVeilError("pass those weights with --init"))).once()
    assert (job.state, job.problems[0].code) == (State.FAILED, "evaluation_refused")
    assert "--init" in job.problems[0].message


def test_a_fault_fails_the_job_and_the_worker_goes_on(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.fill(2)
    job = place.worker(raising(ZeroDivisionError("oops"))).once()
    assert (job.state, job.problems[0].code) == (State.FAILED, "evaluation_failed")
    assert "--retry" in job.problems[0].remedy
    assert "ZeroDivisionError" in capsys.readouterr().err, "the evaluator sees where"
    assert place.worker().once().state == State.PUBLISHED


def test_an_evaluation_has_only_so_much_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card whose shadows would train for ever kept a worker for ever."""
    (name,) = place.fill(1)
    monkeypatch.setattr(sys.modules[__name__], "LIMITS", LIMITS.model_copy(update={"evaluation_seconds": 0.05}))

    def endless(_path: Path, _job: Job, progress: JobReporter) -> Record:
        for epoch in range(1000):
            time.sleep(0.02)
            progress.step(f"epoch {epoch}")
        raise AssertionError("nobody stopped it")

    job = place.worker(endless).once()
    assert (job.id, job.state, job.problems[0].code) == (name, State.FAILED, "evaluation_refused")
    assert "was not done after" in job.problems[0].message


TORCH = RuntimeError(
    "[enforce fail at inline_container.cc:668] . PytorchStreamWriter failed writing file data/7: file write failed"
)


@pytest.mark.parametrize(
    "full", [OSError(errno.ENOSPC, "full"), OSError(errno.EDQUOT, "full"), TORCH], ids=["disk", "quota", "torch"]
)
def test_a_worker_whose_disk_is_full_stops_and_gives_its_job_back(place: Place, full: Exception) -> None:
    (name,) = place.fill(1)
    with pytest.raises(DiskFullHereError, match="free some space"):
        place.worker(raising(full)).once()
    store = place.store()
    assert store.queue.job(name).state == State.QUEUED
    assert "disk of worker" in store.queue.log(name)[-1].text
    assert place.worker().once().state == State.PUBLISHED


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_an_evaluation_that_wants_too_much_memory_is_told_so(place: Place, error: Exception) -> None:
    place.fill(1)
    job = place.worker(raising(error)).once()
    assert (job.state, job.problems[0].code) == (State.FAILED, "too_much_memory")


def _grasp(result: Any) -> None:
    limit_memory(2**30)
    try:
        bytearray(2**31)
    except MemoryError as error:
        result.value = int(out_of_memory(error))


def test_a_worker_is_bounded_and_not_the_machine() -> None:
    result = FORK.Value("i", 0)
    process = FORK.Process(target=_grasp, args=(result,))
    process.start()
    process.join()
    assert result.value == 1


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(143)])
def test_a_worker_that_is_told_to_end_gives_its_job_back(place: Place, end: BaseException) -> None:
    (name,) = place.fill(1)
    with pytest.raises(type(end)):
        place.worker(raising(end)).once()
    assert place.store().queue.job(name).state == State.QUEUED
    assert place.worker().once().state == State.PUBLISHED


def test_a_signal_that_a_library_makes_an_error_of_is_still_one(place: Place) -> None:
    """pydantic's serializers do: a job would fail for good because its worker was told to end."""

    def evaluate(_path: Path, _job: Job, _progress: JobReporter) -> Record:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        except SystemExit as error:
            raise ValueError("Error calling function: SystemExit: 143") from error
        raise AssertionError("it goes on")

    (name,) = place.fill(1)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with ending_soon(), pytest.raises(SystemExit):
            place.worker(evaluate).once()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert place.store().queue.job(name).state == State.QUEUED


def test_a_withdrawn_job_is_dropped_at_its_next_step(place: Place) -> None:
    (name,) = place.fill(1)
    steps = []

    def evaluate(_path: Path, job: Job, progress: JobReporter) -> Record:
        progress.step("first")
        place.store().queue.withdraw(job.id)
        steps.append(1)
        progress.step("second")
        raise AssertionError("it was withdrawn")

    job = place.worker(evaluate).once()
    assert (job.state, steps) == (State.WITHDRAWN, [1])
    assert place.store().records() == []
    assert name == job.id


def test_a_file_that_is_gone_fails_its_job(place: Place) -> None:
    (name,) = place.fill(1)
    place.quarantine.discard(name)
    assert place.worker().once().problems[0].code == "file_lost"


# Stores that lock or vanish


def test_a_locked_store_holds_a_finished_record_up_and_loses_nothing(place: Place) -> None:
    place.fill(1)
    locks: list[sqlite3.Connection] = []

    def evaluate(*arguments: Any) -> Record:
        record = place.evaluate(*arguments)
        lock = sqlite3.connect(place.location, isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN IMMEDIATE")
        locks.append(lock)
        threading.Timer(0.5, lambda: lock.execute("ROLLBACK")).start()
        return record

    assert place.worker(evaluate, busy_seconds=0.05).once().state == State.PUBLISHED
    assert len(place.store().records()) == 1


def test_a_store_that_vanishes_and_comes_back_has_lost_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (name,) = place.fill(1)
    away = place.root / "away"

    def evaluate(*arguments: Any) -> Record:
        record = place.evaluate(*arguments)
        away.mkdir()
        for file in place.root.glob("store.sqlite*"):
            file.rename(away / file.name)
        return record

    monkeypatch.setattr("benchmark.service.worker._PATIENCE", 2)
    with pytest.raises(FaceVeilError, match=r"removed|cannot be"):
        place.worker(evaluate).once()
    for file in away.iterdir():
        file.rename(place.root / file.name)
    time.sleep(LIMITS.lease_seconds + 0.1)
    assert place.worker().once().state == State.PUBLISHED
    assert [record.card.name for record in place.store().records()] == [name]
    assert Counter((place.root / "computed.txt").read_text().split())[name] == PIECES, "nothing was computed twice"
