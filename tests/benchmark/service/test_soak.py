"""Honest and hostile teams at one service, its workers and checkers killed again and again: who is honest is published.

The length is a setting: ``FACEVEIL_SOAK_SECONDS=3600 pytest -m slow -s tests/benchmark/service/test_soak.py``.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import misbehaving
import pytest
from record_factory import make_record

from benchmark.interfaces import FaceVeilError
from benchmark.records.record import Record
from benchmark.runtime.step_cache import Pieces
from benchmark.service.checker import Examiner
from benchmark.service.intake import Intake
from benchmark.service.jobs import Job, State
from benchmark.service.limits import Limits
from benchmark.service.quarantine import Quarantine
from benchmark.service.store import Store
from benchmark.service.worker import JobReporter, Worker
from leaderboard.board.library import Library

SECONDS = float(os.environ.get("FACEVEIL_SOAK_SECONDS", "60"))
HONEST, HOSTILE = ("anna", "boris", "chen"), ("mallory", "trudy")
KINDS = ("refused", "crash", "deep", "slow", "poison", "faulty", "endless")
LIMITS = Limits(lease_seconds=2.0, turn_seconds=2.0, uploads_per_hour=100_000, open_jobs=6, upload_bytes=200_000)
FORK = multiprocessing.get_context("fork")


def evaluate(root: Path, path: Path, job: Job, progress: JobReporter) -> Record:
    """A short evaluation in pieces; that of a hostile file ends its worker, or fails."""
    kind = path.read_bytes().split(b" ", 1)[0]
    if kind == b"poison":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == b"faulty":
        raise ZeroDivisionError("<b>" + "x" * 5000)
    pieces = Pieces(root / "pieces" / job.id)
    for number in range(3):
        progress.step(f"piece {number}")
        pieces.get(str(number), lambda: time.sleep(0.03))
    made = make_record(job.name, track=job.track, team=job.team, board="weights", n_replicates=10)
    origin = made.provenance.model_copy(update={"submission_id": job.submission_id, "weights_sha256": job.weights_sha256})
    return made.model_copy(update={"provenance": origin})


def work(root: Path) -> None:
    """A worker; its checks run in a process of their own."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    store = Store(root / "store.sqlite", limits=LIMITS)
    intake = Intake(store, Quarantine(root / "quarantine"), Examiner(seconds=2, check=misbehaving.by_content))
    Worker(store, intake, lambda path, job, progress: evaluate(root, path, job, progress)).run(pause=0.1)


def supervise(root: Path, ended: Any, kills: Any) -> None:
    """Two workers, one killed every few seconds; those that end are started again."""
    rng = random.Random(0)
    workers: list[Any] = [None, None]
    while not ended.is_set():
        for place, worker in enumerate(workers):
            if worker is None or not worker.is_alive():
                workers[place] = FORK.Process(target=work, args=(root,))
                workers[place].start()
        if ended.wait(rng.uniform(1.0, 9.0)):
            break
        victim = rng.choice(workers)
        if victim.is_alive():
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()
            kills.value += 1
    for worker in workers:
        worker.kill()
        worker.join()


class Soak:
    """A service with its teams."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root / "store.sqlite", limits=LIMITS)
        self.teams = {name: self.store.teams.authenticate(self.store.teams.add(name)) for name in (*HONEST, *HOSTILE)}
        self.examiner = Examiner(seconds=2, check=misbehaving.by_content)
        self.intake = Intake(self.store, Quarantine(root / "quarantine"), self.examiner)
        self.over = threading.Event()
        self.jobs: dict[str, list[str]] = {name: [] for name in self.teams}
        self.faults: list[str] = []
        self.looks = self.retries = 0

    def _guarded(self, act: Any, *arguments: Any) -> None:
        try:
            act(*arguments)
        except Exception as error:  # a thread's own fault is the test's
            self.faults.append(f"{act.__name__}{arguments}: {type(error).__name__}: {error}")

    def honest(self, team: str) -> None:
        """Hands in one after another, as a careful team does."""
        number = 0
        while not self.over.is_set():
            number += 1  # one that was interrupted may be there all the same: sent again it is refused as known
            with contextlib.suppress(FaceVeilError):  # too many open jobs, or a store that is busy: later
                job = self.intake.submit(self.teams[team], io.BytesIO(f"honest {team} {number}".encode()))
                self.jobs[team].append(job.id)
            self._agree(team)
            self.over.wait(1.0)

    def _agree(self, team: str) -> None:
        for name in self.jobs[team][-10:]:
            with contextlib.suppress(FaceVeilError):
                state = self.store.queue.job(name).state
                if state == State.VALIDATED:
                    self.store.queue.enqueue(name, self.teams[team])
                elif state == State.FAILED and team in HONEST:  # its workers were killed again and again: as it is advised
                    self.store.queue.retry(name, self.teams[team])
                    self.retries += 1

    def hostile(self, team: str) -> None:
        """Hands in as much as it may, of every kind."""
        rng, number = random.Random(team), 0
        while not self.over.is_set():
            kind = rng.choice(KINDS)
            number += 1
            data = b"x" * 300_000 if kind == "endless" else f"{kind} {team} {number}".encode()
            with contextlib.suppress(FaceVeilError):
                self.jobs[team].append(self.intake.submit(self.teams[team], io.BytesIO(data)).id)
            self._agree(team)
            self.over.wait(0.05)

    def read(self) -> None:
        """A reader of the board."""
        library = Library(self.store, self.root / "none")
        while not self.over.is_set():
            board = library.board()
            assert board.problems == ()
            self.looks += 1
            self.over.wait(2.0)

    def kill_checkers(self) -> None:
        """The server's checker is killed now and then."""
        rng = random.Random(5)
        while not self.over.wait(rng.uniform(1.0, 6.0)):
            process = self.examiner._process
            if process is not None and process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)

    def run(self, seconds: float) -> None:
        """Everything at once, until the time is over and the honest jobs are through."""
        threads = [threading.Thread(target=self._guarded, args=(self.honest, team)) for team in HONEST]
        threads += [threading.Thread(target=self._guarded, args=(self.hostile, team)) for team in HOSTILE]
        threads += [threading.Thread(target=self._guarded, args=(act,)) for act in (self.read, self.kill_checkers)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self.over.set()
        for thread in threads:
            thread.join()
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.unpublished():
            for team in HONEST:
                self._agree(team)
            time.sleep(0.5)
        self.examiner.close()

    def unpublished(self) -> list[Job]:
        """Honest jobs that are not through."""
        jobs = [self.store.queue.job(name) for team in HONEST for name in self.jobs[team]]
        return [job for job in jobs if job.state != State.PUBLISHED]

    def waits(self, team: str) -> list[float]:
        """Seconds from the queue to the board, of each published job of a team."""
        found = []
        for name in self.jobs[team]:
            moments = {event.state: event.moment for event in self.store.queue.log(name, last=1000)}
            if State.PUBLISHED in moments:
                job = self.store.queue.job(name)
                found.append(seconds_between(job.created, moments[State.PUBLISHED]))
        return found


def seconds_between(first: str, second: str) -> float:
    from datetime import datetime

    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()


def resident() -> float:
    """MiB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_honest_teams_are_published_whatever_the_others_do(tmp_path: Path) -> None:
    soak = Soak(tmp_path)
    ended, kills = FORK.Event(), FORK.Value("i", 0)
    supervisor = FORK.Process(target=supervise, args=(tmp_path, ended, kills))
    supervisor.start()
    before = resident()
    try:
        soak.run(SECONDS)
    finally:
        ended.set()
        supervisor.join(30)
    grown = resident() - before
    waits = {team: soak.waits(team) for team in HONEST}
    told = {team: f"{len(found)} published, longest wait {max(found, default=0):.0f} s" for team, found in waits.items()}
    states = {str(state): count for state, count in soak.store.queue.counts().items() if count}
    print(f"\n{SECONDS:.0f} s, {kills.value} workers killed, {soak.retries} retries, memory +{grown:.0f} MiB")
    print(f"{soak.looks} looks at the board, {told}, {states}")
    assert not soak.faults, soak.faults[:3]
    assert soak.unpublished() == []
    records = [record.card.team for record in soak.store.records()]
    for team in HONEST:
        assert records.count(team) == len(soak.jobs[team]) > 0, "none lost, none doubled"
    assert grown < 400
    fewest, most = min(map(len, waits.values())), max(map(len, waits.values()))
    assert fewest > most / 3, "nobody starved"
