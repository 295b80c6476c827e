"""Runs the entries of a sweep: trains, evaluates and stores each, skips what is done, stops in good order.

Everything lives in one folder: a submission and a record per entry, and ``state.json`` with what became of each.  A killed run
resumes: finished entries are read back, a training resumes at its last epoch, an evaluation at its last piece.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmark.evaluation.membership.scores import EVALUATION_VERSION
from benchmark.evaluation.session import Session
from benchmark.evaluation.standard import wanted_attacks
from benchmark.evaluation.sweep.file import SweepEntry
from benchmark.interfaces import FaceVeilError
from benchmark.records.reading import read_record
from benchmark.records.record import Record
from benchmark.runtime.checked import intact, write_sealed
from benchmark.runtime.executor import Engine, Status
from benchmark.runtime.graph import Graph
from benchmark.runtime.interrupts import raise_again
from benchmark.runtime.progress import Progress, TrainingProgress
from benchmark.submissions.checkpoint_import import open_weights
from benchmark.submissions.package import is_packed
from benchmark.submissions.submission import Submission, load_submission
from benchmark.training.build import check_on, training_track
from benchmark.training.plan import TrainingPlan

DONE, FAILED, WAITING = "done", "failed", "waiting"


class OutOfTimeError(Exception):
    """The time that a sweep was given is over."""


@dataclass
class Limited:
    """A reporter that ends the work at a deadline, between two steps or epochs: both are saved before."""

    inner: Progress
    deadline: float | None  # of time.monotonic

    def step(self, text: str) -> None:
        self._check()
        self.inner.step(text)

    def training(self, report: TrainingProgress) -> None:
        self.inner.training(report)
        self._check()

    def tasks(self, status: Status) -> None:
        self.inner.tasks(status)
        if status.finished is not None:
            self._check()

    def _check(self) -> None:
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise OutOfTimeError


@dataclass(frozen=True)
class SweepOutcome:
    """What became of an entry."""

    entry: SweepEntry
    status: str
    reason: str = ""
    record: Record | None = None


@dataclass
class Sweep:
    """One sweep on this installation.

    Args:
        folder: where entries, records and the state are kept.
        minutes: stop when these are over; None: run to the end.
        save: called with each record, beside its file.
    """

    entries: Sequence[SweepEntry]
    folder: Path
    progress: Progress
    device: torch.device | str = "cpu"
    team: str = "FaceVeil"
    minutes: float | None = None
    save: Callable[[Record], object] = lambda _record: None
    engine: Engine = field(default_factory=Engine)
    on_status: Callable[[int, SweepEntry, str], None] = lambda _number, _entry, _what: None
    _session: tuple[Any, Session] | None = field(default=None, init=False)

    def check(self) -> None:
        """Refuses the sweep if any of its entries could not be trained; trains nothing.

        Raises:
            FaceVeilError: every reason, with the entry.
        """
        reasons = []
        for entry in self.entries:
            try:
                start = self._init(entry)
                track = training_track(entry.track, entry.backbone, start)
                roles = track.roles
                public = 1 if entry.public else roles.public
                check_on(entry.defense, track, roles.members * roles.seen, public, initialised=start is not None)
                if entry.track.source == "folder" and entry.data is None:
                    raise FaceVeilError(f"track {entry.track.name!r} needs aligned faces: pass --data PATH.")
            except FaceVeilError as error:
                reasons.append(f"{entry.label}: {error}")
        if reasons:
            raise FaceVeilError("the sweep is refused:\n" + "\n".join(dict.fromkeys(reasons)))

    def run(self) -> list[SweepOutcome]:
        """Every entry's outcome, in order; those that time did not allow are ``waiting``."""
        deadline = None if self.minutes is None else time.monotonic() + 60 * self.minutes
        self.progress = Limited(self.progress, deadline)
        outcomes: list[SweepOutcome] = []
        for number, entry in enumerate(self.entries, start=1):
            try:
                done = self.finished(entry)
                if done is None:
                    self.progress.step(entry.label)
                    self.on_status(number, entry, "running")
                    done = self._made(entry)
                else:
                    self.on_status(number, entry, "done already")
                outcome = SweepOutcome(entry, DONE, record=done)
            except OutOfTimeError:
                return outcomes + [SweepOutcome(e, WAITING) for e in self.entries[number - 1 :]]
            except Exception as error:  # one entry's failure must not lose the others
                raise_again()
                reason = str(error) if isinstance(error, FaceVeilError) else f"{type(error).__name__}: {error}"
                outcome = SweepOutcome(entry, FAILED, reason)
                self.on_status(number, entry, f"failed: {reason}")
            outcomes.append(outcome)
            self._note(outcome)
        return outcomes

    def standing(self) -> list[SweepOutcome]:
        """Every entry as it stands, in order: done or waiting; trains nothing."""
        found = [(entry, self.finished(entry)) for entry in self.entries]
        return [SweepOutcome(e, DONE if record else WAITING, record=record) for e, record in found]

    def outlook(self) -> Graph:
        """Every step of the entries that are not finished, those that are done included; nothing is trained."""
        plan, nodes = TrainingPlan(), []
        for entry in self.entries:
            if self.finished(entry) is not None:
                continue
            session, own = self._open(entry), f"{entry.label} on {entry.track.name}, seed {entry.seed}"
            alone = session.training_plan([entry.named], entry.backbone)
            session.training_plan([entry.named], entry.backbone, plan)
            trained = self.place(entry) / "submission"
            if not alone.missing and is_packed(trained):
                nodes += session.plan(load_submission(trained), label=own).nodes
                continue
            wanted = wanted_attacks(entry.track, [entry.defense])
            nodes += session.expected(wanted, tuple(node.key for node in alone.missing), own)
        return Graph([*plan.nodes, *nodes])

    def place(self, entry: SweepEntry) -> Path:
        """The folder of an entry."""
        readable = re.sub(r"[^A-Za-z0-9=.]+", "-", entry.label).strip("-")[:60]
        return self.folder / f"{readable}-seed{entry.seed}-{entry.digest}"

    def finished(self, entry: SweepEntry) -> Record | None:
        """The record of an entry that was finished under this very protocol, by attacks as they are now; else None."""
        path = self.place(entry) / "record.json"
        if not intact(path):
            return None
        record = read_record(path)
        same = record.provenance.versions.get("evaluation") == str(EVALUATION_VERSION)
        return record if same and record.protocol_version == entry.track.version else None

    def _made(self, entry: SweepEntry) -> Record:
        session, place = self._open(entry), self.place(entry)
        trained = place / "submission"
        if is_packed(trained):
            submission = load_submission(trained)
        else:
            card = {"team": self.team, "name": entry.label[:80]}
            if entry.seed == 0:
                session.prepare_all([entry.named], entry.backbone)
            submission = session.train(entry.named, entry.seed, trained, card=card, backbone=entry.backbone)
        record = session.evaluate(submission)
        write_sealed(place / "record.json", record.model_dump_json(indent=1))
        self.save(record)
        return record

    def _open(self, entry: SweepEntry) -> Session:
        """The session of an entry's track and data; that of the last entry where they are the same."""
        key = (entry.track.name, entry.data, entry.init, entry.public)
        if self._session is None or self._session[0] != key:
            session = Session(
                entry.track,
                entry.data,
                self.device,
                init=self._init(entry),
                public=entry.public,
                progress=self.progress,
                engine=self.engine,
            )
            self._session = key, session
        return self._session[1]

    def _init(self, entry: SweepEntry) -> Submission | None:
        return None if entry.init is None else open_weights(entry.init)

    @property
    def state_file(self) -> Path:
        return self.folder / "state.json"

    def _note(self, outcome: SweepOutcome) -> None:
        """Adds an outcome to the state file, which another run of the same sweep may have changed meanwhile."""
        state = json.loads(self.state_file.read_text(encoding="utf-8")) if intact(self.state_file) else {}
        state[outcome.entry.digest] = {
            "entry": outcome.entry.label,
            "track": outcome.entry.track.name,
            "seed": outcome.entry.seed,
            "status": outcome.status,
            "reason": outcome.reason,
            "folder": self.place(outcome.entry).name,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        write_sealed(self.state_file, json.dumps(state, indent=1))
