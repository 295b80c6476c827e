"""What attacks may read in an audit: signals of a module, and of shadows of it, on the photos asked about."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from benchmark.evaluation.audit.question import Question
from benchmark.interfaces import (
    AccessError,
    FaceVeilError,
    MembershipAttack,
    NotApplicableError,
    Photos,
    QueryShadow,
    SignalRequest,
    Signals,
)
from benchmark.runtime.memory import out_of_memory
from benchmark.signals.extraction import (
    ReferenceStatistics,
    check_applicable,
    estimated_statistics,
    extract,
    stored_statistics,
)
from benchmark.signals.target import Target


@dataclass(frozen=True)
class AuditShadow:
    """A model of the same kind, trained on other photos: what an attacker compares the audited one with.

    Attributes:
        model: an ``nn.Module`` with the same inputs and outputs as the audited one.
        members: (M,) bool, which of ``members`` it was trained on, in the order in which they were handed to the audit.
        nonmembers: (K,) bool, the same of ``nonmembers``.  Both None: it was trained on none of them.
    """

    model: nn.Module
    members: Sequence[bool] | np.ndarray | None = None
    nonmembers: Sequence[bool] | np.ndarray | None = None

    @property
    def offline(self) -> bool:
        """Whether it was trained on none of the photos asked about."""
        return self.members is None and self.nonmembers is None


@dataclass(frozen=True)
class Observations:
    """Signals of all photos of a question; ``missing`` says by request key why a signal could not be had."""

    question: Question
    signals: Signals
    missing: dict[str, str] = field(default_factory=dict)
    shadows: Sequence[QueryShadow] = ()
    offline: bool = False  # whether the shadows were trained on none of the photos

    def reasons(self, attack: MembershipAttack) -> list[str]:
        """Why an attack cannot be run here; empty where it can."""
        return [self.missing[r.key] for r in attack.requests() if r.key in self.missing]


def observe(
    target: Target,
    question: Question,
    requests: Sequence[SignalRequest],
    *,
    public: Photos | None = None,
    shadows: Sequence[tuple[Target, AuditShadow]] = (),
    shadow_requests: Sequence[SignalRequest] = (),
    tell: Callable[[str], None] = lambda _text: None,
) -> Observations:
    """All signals in as few passes as possible; one that fails on this module is left out with its reason.

    Args:
        public: photos from which the attacker estimates feature statistics; default those he knows were not trained on.
        tell: hears now and then how far the passes over the photos are.
    """
    observer = _Observer(question, public, tell)
    missing: dict[str, str] = {}
    values = observer.values(target, requests, missing)
    found = []
    for number, (model, shadow) in enumerate(shadows, start=1):
        tell(f"signals of shadow model {number} of {len(shadows)}")
        wanted = [r for r in shadow_requests if r.key in values]
        own = observer.values(model, wanted, missing)
        inside = _inside(shadow, question)
        found.append(QueryShadow(Signals(values=own, identity=question.identity), inside, np.arange(len(inside))))
    offline = bool(shadows) and all(shadow.offline for _, shadow in shadows)
    return Observations(question, Signals(values=values, identity=question.identity), missing, found, offline)


def _inside(shadow: AuditShadow, question: Question) -> np.ndarray:
    """(N,) which photos the shadow was trained on."""
    inside = np.zeros(len(question.photos), bool)
    for number, (given, what) in enumerate(((shadow.members, "members"), (shadow.nonmembers, "nonmembers"))):
        if given is None:
            continue
        mask = np.asarray(given, bool)
        expected = len(question.photos.sets[number])
        if mask.shape != (expected,):
            raise FaceVeilError(f"a shadow's {what}= must say of each of the {expected} {what} whether it was trained on it.")
        rows = [row for row, (s, _) in enumerate(question.photos.where) if s == number]
        inside[rows] = mask[[question.photos.where[row][1] for row in rows]]
    return inside


_PAUSE = 10.0  # seconds between two words on how far a pass is


@dataclass(frozen=True)
class _Observer:
    question: Question
    public: Photos | None
    tell: Callable[[str], None]

    def values(self, target: Target, requests: Sequence[SignalRequest], missing: dict[str, str]) -> dict[str, np.ndarray]:
        """Signals by key; together where that works, one by one where a module fails on one of them."""
        possible = []
        for request in requests:
            try:
                check_applicable(target, request)
                possible.append(request)
            except (NotApplicableError, AccessError) as error:
                missing[request.key] = str(error)
        try:
            return self._together(target, possible)
        except Exception:  # anybody's code may raise anything under hooks and views
            values: dict[str, np.ndarray] = {}
            for request in possible:
                try:
                    values.update(self._together(target, [request]))
                except Exception as error:
                    if out_of_memory(error):
                        raise  # on another machine it would work
                    missing[request.key] = f"the model fails on it: {type(error).__name__}: {str(error)[:200]}"
            return values

    def _together(self, target: Target, requests: Sequence[SignalRequest]) -> dict[str, np.ndarray]:
        again = [r for r in requests if r.recalibrates]
        # apart, because a pass backward takes more memory
        with_gradients = [r for r in requests if r.backward]
        plain = [r for r in requests if r not in again and r not in with_gradients]
        values: dict[str, np.ndarray] = {}
        for part, what in ((plain, "activations"), (with_gradients, "gradients")):
            if part:
                values.update(self._asked(target, part, self._references(target, part), what))
        if again:
            other = target.recalibrated(self._reference_photos())
            own = {"repaired": stored_statistics(other.backbone)}
            values.update(self._asked(other, again, own, "statistics estimated again"))
        unusable = [key for key, v in values.items() if not np.isfinite(v).all()]
        if unusable:
            raise FaceVeilError(f"{', '.join(unusable)}: not finite.")
        return values

    def _asked(
        self, target: Target, requests: Sequence[SignalRequest], references: Mapping[str, ReferenceStatistics], what: str
    ) -> Mapping[str, np.ndarray]:
        photos = self.question.photos
        done, next_time = 0, time.monotonic() + _PAUSE

        def report(count: int) -> None:
            nonlocal done, next_time
            done += count
            if time.monotonic() > next_time:
                self.tell(f"{what}: {done} of {len(photos)} photos")
                next_time = time.monotonic() + _PAUSE

        return extract(target, photos, requests, references=references, progress=report).values

    def _reference_photos(self) -> Photos:
        if self.public is not None:
            return self.public
        question = self.question
        return question.photos.take(np.flatnonzero(question.labelled & (question.side != 0)))

    def _references(self, target: Target, requests: Sequence[SignalRequest]) -> dict[str, ReferenceStatistics]:
        found: dict[str, ReferenceStatistics] = {}
        for reference in sorted({r.compared_with for r in requests if r.compared_with} - {"stored"}):
            known = np.flatnonzero(self.question.labelled & (self.question.side == 0))
            photos = self.question.photos.take(known) if reference == "partial" else self._reference_photos()
            found[reference] = estimated_statistics(target, photos, reference)
        return found
