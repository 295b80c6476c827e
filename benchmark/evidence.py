"""What attacks on one target may read: signals of the target and of shadow backbones, gathered in one pass per model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.data.populations import SEEN, SIDES, Populations
from benchmark.interfaces import (
    AccessError,
    AttackSpec,
    Contrast,
    Knowledge,
    NotApplicableError,
    Photos,
    SignalRequest,
    Signals,
)
from benchmark.registry import build_attack
from benchmark.shadows import Shadow, public_pairs
from benchmark.signals import HeadClasses, ReferenceStatistics, check_applicable, estimated_statistics, extract
from benchmark.target import Target


@dataclass(frozen=True)
class ShadowSignals:
    """Signals of a shadow backbone on its own photos; ``side`` says which were seen."""

    signals: Signals
    side: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """Everything that attacks on one target may read.

    ``signals`` are those of ``populations.queried``; ``unavailable`` maps request keys to the reason why the target cannot
    give them.  ``shadows`` maps a knowledge to its shadows.
    """

    populations: Populations
    signals: Signals
    unavailable: Mapping[str, str] = field(default_factory=dict)
    shadows: Mapping[Knowledge, Sequence[ShadowSignals]] = field(default_factory=dict)

    @cached_property
    def identity(self) -> np.ndarray:
        return np.asarray(self.signals.identity)

    def sides(self, contrast: Contrast, labelled: bool) -> np.ndarray:
        """Positions of a contrast's photos among the people whose membership is known (or those asked about)."""
        of_contrast = np.isin(self.populations.side, SIDES[contrast])
        return np.flatnonzero(of_contrast & (self.populations.labelled == labelled))

    def labels(self, index: np.ndarray, contrast: Contrast) -> np.ndarray:
        """1 for the contrast's positives, 0 for its negatives."""
        return (self.populations.side[index] == SIDES[contrast][0]).astype(np.int64)


def requested(specs: Sequence[AttackSpec], knowledge: Knowledge | None = None) -> tuple[SignalRequest, ...]:
    """The union of what attacks ask for; with ``knowledge``, of those attacks only."""
    union: dict[SignalRequest, None] = {}
    for spec in specs:
        attack = build_attack(spec)
        if knowledge is None or attack.knowledge == knowledge:
            union.update(dict.fromkeys(attack.requests()))
    return tuple(union)


def gather(
    target: Target,
    populations: Populations,
    specs: Sequence[AttackSpec],
    *,
    extra: Sequence[SignalRequest] = (),
    shadows: Mapping[Knowledge, Iterable[Shadow]] | None = None,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evidence:
    """Signals for all attacks at once: one pass over the target, one over each shadow.

    Args:
        extra: further requests, beside those of the attacks.
        shadows: shadow backbones by the knowledge they serve; read (and trained) one at a time.
    """
    requests = tuple(dict.fromkeys((*requested(specs), *extra)))
    head = _head_classes(populations, populations.queried, populations.side == SEEN)
    possible, unavailable = _possible(target, requests, head)
    known_members = populations.labelled & (populations.side == SEEN)
    signals = _extract(target, populations, populations.queried, known_members, possible, cache, progress, head)
    of_shadows: dict[Knowledge, list[ShadowSignals]] = {}
    for knowledge, pool in (shadows or {}).items():
        wanted = [r for r in requested(specs, knowledge) if r.key not in unavailable]
        if not wanted:
            continue
        for shadow in pool:
            model = Target(shadow.submission, target.access, target.device)
            head = _head_classes(populations, shadow.photos, shadow.side == SEEN)
            able, missing = _possible(model, wanted, head)
            unavailable.update(missing)
            values = _extract(model, populations, shadow.photos, shadow.side == SEEN, able, cache, None, head)
            of_shadows.setdefault(knowledge, []).append(ShadowSignals(values, shadow.side))
    return Evidence(populations, signals, unavailable, of_shadows)


def _extract(
    target: Target,
    populations: Populations,
    photos: Photos,
    members: np.ndarray,
    requests: Sequence[SignalRequest],
    cache: Path | None,
    progress: Callable[[int], None] | None,
    head: HeadClasses,
) -> Signals:
    """Signals of one model: a pass over it as it is, and one with its statistics estimated again where that is asked for."""
    again = [r for r in requests if _recalibrates(r)]
    plain = [r for r in requests if not _recalibrates(r)]
    references = _references(target, populations, plain, photos, members)
    signals = extract(target, photos, plain, references=references, head=head, cache=cache, progress=progress)
    if again:
        other = target.recalibrated(populations.source(public_pairs(populations), "public"))
        more = extract(other, photos, again, cache=cache, progress=progress)
        signals = replace(signals, values={**signals.values, **more.values})
    return signals


def _recalibrates(request: SignalRequest) -> bool:
    return request.layers == "embedding" and request.reference != "stored"


def _head_classes(populations: Populations, photos: Photos, seen: np.ndarray) -> HeadClasses:
    """The classes of a head trained on the ``seen`` of ``photos``: training numbers people in the order of their identities."""
    return HeadClasses(np.unique(np.asarray(photos.identity)[seen]), populations.track.head.scale)


def _possible(
    target: Target, requests: Sequence[SignalRequest], head: HeadClasses
) -> tuple[tuple[SignalRequest, ...], dict[str, str]]:
    """The requests that this backbone can serve, and the reasons for the others."""
    possible, unavailable = [], {}
    for request in requests:
        try:
            target.require(request.access, f"signal {request.key}")
            check_applicable(target, request, head)
            possible.append(request)
        except (NotApplicableError, AccessError) as error:
            unavailable[request.key] = str(error)
    return tuple(possible), unavailable


def _references(
    target: Target, populations: Populations, requests: Sequence[SignalRequest], photos: Photos, members: np.ndarray
) -> dict[str, ReferenceStatistics]:
    """Statistics that the attacker estimates: on public photos, or (``partial``) on those of ``photos`` known as members."""
    wanted = {r.reference for r in requests if r.layers == "norm"} - {"stored"}
    found = {}
    for reference in sorted(wanted):
        if reference == "partial":
            known = photos.take(np.flatnonzero(members))
        else:
            known = populations.source(public_pairs(populations), "public")
        found[reference] = estimated_statistics(target, known, reference)
    return found
