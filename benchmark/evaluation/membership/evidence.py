"""What attacks on one target may read: signals of the target and of shadow backbones, gathered in one pass a model."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.data.populations import HELD_OUT, SEEN, SIDES, SPARE, Populations
from benchmark.interfaces import (
    Access,
    AccessError,
    Contrast,
    Knowledge,
    MembershipAttack,
    NotApplicableError,
    Photos,
    QueryShadow,
    SignalRequest,
    Signals,
)
from benchmark.signals.extraction import (
    HeadClasses,
    Reading,
    ReferenceStatistics,
    check_applicable,
    estimated_statistics,
    extract_many,
    stored_statistics,
)
from benchmark.signals.target import Target
from benchmark.submissions.submission import Submission
from benchmark.training.shadows import Shadow, reference_pairs


@dataclass(frozen=True)
class ShadowSignals:
    """Signals of an auxiliary shadow on its own photos; ``side`` says which were seen.

    ``queried`` are its signals of the photos that the target is asked about, where an attack calibrates by them.
    """

    signals: Signals
    side: np.ndarray
    queried: Signals | None = None


@dataclass(frozen=True)
class Shadows:
    """Where the shadow backbones of one target come from; each iterable is read only when wanted.

    ``pool``: the other backbones of a population, each with the populations as that number was trained on them.
    """

    auxiliary: Iterable[Shadow] = ()
    pool: Iterable[tuple[Submission, Populations]] = ()


@dataclass(frozen=True)
class ModelSignals:
    """What one backbone of a population says of the queried photos, and which of them it was trained on.

    ``missing`` maps request keys to the reason why it cannot give them.
    """

    populations: Populations
    signals: Signals
    missing: Mapping[str, str] = field(default_factory=dict)
    _own: dict[Hashable, Signals] = field(default_factory=dict, compare=False, repr=False)

    def as_shadow(self, attack: MembershipAttack, contrast: Contrast, index: np.ndarray) -> QueryShadow:
        """This backbone in the target's place, asked about its own photos; ``index`` are the target's among those queried.

        Its signals are narrowed to the attack's, once for all targets.
        """
        own = asked_about(self.populations, contrast, strangers=attack.asks_strangers)
        key = (contrast, attack.needs_gallery, attack.asks_strangers, attack.requests())
        if key not in self._own:
            self._own[key] = narrowed(self.signals, attack, own)
        place = np.full(len(self.signals), -1)
        place[own] = np.arange(len(own))
        return QueryShadow(self._own[key], self.populations.side[own] == INSIDE[contrast], place[index])


# Which side of a contrast's photos a backbone was trained on: the photo itself, or its person.
INSIDE = {contrast: sides[0] for contrast, sides in SIDES.items()}
POOLED = (Contrast.SAMPLE, Contrast.IDENTITY)  # contrasts on which the query pool says something


def asked_about(populations: Populations, contrast: Contrast, *, strangers: bool = False) -> np.ndarray:
    """Positions of a contrast's photos of the people whose membership nobody knows.

    Args:
        strangers: on the sample contrast, those of the people who were not trained on as well.
    """
    sides = (*SIDES[contrast], HELD_OUT, SPARE) if strangers and contrast == Contrast.SAMPLE else SIDES[contrast]
    return np.flatnonzero(np.isin(populations.side, sides) & ~populations.labelled)


def narrowed(signals: Signals, attack: MembershipAttack, index: np.ndarray) -> Signals:
    """What the attack asked for and nothing else, of the photos ``index``: signals are mapped files, and what is taken of
    them is held in memory.  Without a gallery the attack does not know which photos show the same person.
    """
    asked = {r.key for r in attack.requests()}
    own = replace(signals, values={key: value for key, value in signals.values.items() if key in asked}, memo={}).take(index)
    return own if attack.needs_gallery else replace(own, identity=np.arange(len(own)))


@dataclass(frozen=True)
class Evidence:
    """Everything that attacks on one target may read.

    ``signals`` are those of ``populations.queried``; ``missing_on_target`` maps request keys to the reason why the target
    cannot give them.  ``shadows`` are the auxiliary ones, ``pool`` the other backbones of the population.
    ``missing_on_shadow`` maps request keys to the reason why a shadow cannot give them.
    """

    populations: Populations
    signals: Signals
    missing_on_target: Mapping[str, str] = field(default_factory=dict)
    shadows: Sequence[ShadowSignals] = ()
    pool: Sequence[ModelSignals] = ()
    missing_on_shadow: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(
        target: ModelSignals,
        pool: Sequence[ModelSignals] = (),
        shadows: Sequence[ShadowSignals] = (),
        missing: Mapping[str, str] | None = None,
    ) -> Evidence:
        """From signals that are there; ``missing``: what an auxiliary shadow cannot give."""
        lacking = dict(missing or {})
        for model in pool:
            lacking.update(model.missing)
        return Evidence(target.populations, target.signals, target.missing, shadows, pool, lacking)

    @cached_property
    def identity(self) -> np.ndarray:
        return np.asarray(self.signals.identity)

    def reasons(self, attack: MembershipAttack) -> list[str]:
        """Why the target cannot give what the attack asks for; empty where it can."""
        return [self.missing_on_target[r.key] for r in attack.requests() if r.key in self.missing_on_target]

    def sides(self, contrast: Contrast, labelled: bool) -> np.ndarray:
        """Positions of a contrast's photos among the people whose membership is known (or those asked about)."""
        of_contrast = np.isin(self.populations.side, SIDES[contrast])
        return np.flatnonzero(of_contrast & (self.populations.labelled == labelled))

    def labels(self, index: np.ndarray, contrast: Contrast) -> np.ndarray:
        """1 for the contrast's positives, 0 for its negatives."""
        result: np.ndarray = (self.populations.side[index] == SIDES[contrast][0]).astype(np.int64)
        return result


def wants(attacks: Iterable[MembershipAttack], knowledge: Knowledge) -> bool:
    """Whether any of the attacks has that knowledge."""
    return any(attack.knowledge == knowledge for attack in attacks)


def requested(
    attacks: Iterable[MembershipAttack], wanted: Callable[[MembershipAttack], bool] = lambda _attack: True
) -> tuple[SignalRequest, ...]:
    """The union of what attacks ask for; with ``wanted``, of those attacks only."""
    return tuple(dict.fromkeys(request for attack in attacks if wanted(attack) for request in attack.requests()))


def gather(
    target: Target,
    populations: Populations,
    attacks: Sequence[MembershipAttack],
    *,
    extra: Sequence[SignalRequest] = (),
    shadows: Shadows | None = None,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evidence:
    """Signals for all attacks at once: one pass over the target, one over each shadow and photo set.

    Args:
        extra: more requests, beside those of the attacks.
        shadows: shadow backbones; none by default.
    """
    shadows = shadows or Shadows()
    requests = tuple(dict.fromkeys((*requested(attacks), *extra)))
    model = read_model(target, populations, requests, cache=cache, progress=progress)
    reader = ShadowReader(populations, attacks, model.missing, target, cache, {})
    auxiliary = reader.auxiliary(shadows.auxiliary)
    pool = reader.pool(shadows.pool)
    return Evidence.of(model, pool, auxiliary, reader.missing_on_shadow)


Asked = tuple[Target, Populations, Sequence[SignalRequest]]  # populations are numbered as the backbone was trained


def read_model(
    target: Target,
    populations: Populations,
    requests: Sequence[SignalRequest],
    *,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> ModelSignals:
    """Signals of one backbone of the queried photos, in one pass; ``populations`` are numbered as it was trained."""
    return read_models([(target, populations, requests)], cache=cache, progress=progress)[0]


def read_models(
    asked: Sequence[Asked], *, cache: Path | None = None, progress: Callable[[int], None] | None = None
) -> list[ModelSignals]:
    """Signals of several backbones of one population: the queried photos are read once for all of them."""
    readings, lacking = [], []
    for target, populations, requests in asked:
        head = _head_classes(populations, populations.queried, populations.side == SEEN)
        possible, missing = _possible(target, requests, head)
        known_members = populations.labelled & (populations.side == SEEN)
        readings.append(_Asked(target, populations, populations.queried, known_members, possible, head))
        lacking.append(missing)
    signals = _extract(readings, cache, progress)
    return [ModelSignals(a[1], s, missing) for a, s, missing in zip(asked, signals, lacking, strict=True)]


def _headless(requests: Sequence[SignalRequest]) -> list[SignalRequest]:
    """Without those that read the training head: that of a shadow has no class for each of the people asked about."""
    return [r for r in requests if r.access is not Access.HEAD]


@dataclass(frozen=True)
class ShadowReader:
    """Signals of shadows, for those attacks alone that use them; what one cannot give is noted in ``missing_on_shadow``."""

    populations: Populations
    attacks: Sequence[MembershipAttack]
    missing_on_target: Mapping[str, str]
    target: Target
    cache: Path | None
    missing_on_shadow: dict[str, str]

    def auxiliary(self, shadows: Iterable[Shadow]) -> list[ShadowSignals]:
        own = self._wanted(lambda a: a.knowledge == Knowledge.AUXILIARY)
        asked = _headless(self._wanted(lambda a: a.knowledge == Knowledge.AUXILIARY and a.calibrates))
        found = []
        for shadow in shadows if own else ():
            signals = self._signals(shadow.submission, shadow.photos, shadow.side == SEEN, own)
            queried = self._queried(shadow.submission, asked) if asked else None
            found.append(ShadowSignals(signals, shadow.side, queried))
        return found

    def pool(self, shadows: Iterable[tuple[Submission, Populations]]) -> list[ModelSignals]:
        """Each shadow in the target's place: on the photos that it was itself trained on, or might have been."""
        asked = self._wanted(lambda a: a.knowledge == Knowledge.QUERY_POOL)
        return [
            read_model(Target(submission, self.target.access, self.target.device), own, asked, cache=self.cache)
            for submission, own in (shadows if asked else ())
        ]

    def _wanted(self, wanted: Callable[[MembershipAttack], bool]) -> list[SignalRequest]:
        return [r for r in requested(self.attacks, wanted) if r.key not in self.missing_on_target]

    def _queried(self, submission: Submission, requests: Sequence[SignalRequest]) -> Signals:
        seen = self.populations.side == SEEN
        return self._signals(submission, self.populations.queried, seen, requests, known=seen & self.populations.labelled)

    def _signals(
        self,
        submission: Submission,
        photos: Photos,
        seen: np.ndarray,
        requests: Sequence[SignalRequest],
        known: np.ndarray | None = None,
    ) -> Signals:
        """Args: seen: photos of the people whom the shadow's head has classes for; known: whose membership is known."""
        model = Target(submission, self.target.access, self.target.device)
        head = _head_classes(self.populations, photos, seen)
        able, missing = _possible(model, requests, head)
        self.missing_on_shadow.update(missing)
        members = seen if known is None else known
        return _extract([_Asked(model, self.populations, photos, members, able, head)], self.cache, None)[0]


@dataclass(frozen=True)
class _Asked:
    """What one model is asked for: ``requests`` that it can serve; of ``photos`` the attacker knows ``members``."""

    target: Target
    populations: Populations
    photos: Photos
    members: np.ndarray
    requests: Sequence[SignalRequest]
    head: HeadClasses

    def plain(self) -> Reading:
        """The pass over the model as it is."""
        requests = [r for r in self.requests if not r.recalibrates]
        references = _references(self.target, self.populations, requests, self.photos, self.members)
        return Reading(self.target, requests, references, self.head)

    def recalibrated(self) -> Reading | None:
        """The pass over it with its statistics estimated again, where that is asked for."""
        requests = [r for r in self.requests if r.recalibrates]
        if not requests:
            return None
        other = self.target.recalibrated(self.populations.source(reference_pairs(self.populations), "reference"))
        return Reading(other, requests, {"repaired": stored_statistics(other.backbone)})


def _extract(asked: Sequence[_Asked], cache: Path | None, progress: Callable[[int], None] | None) -> list[Signals]:
    """Signals of models that are asked about the same photos, which are read once for each kind of pass."""
    if not asked:
        return []
    photos = asked[0].photos
    signals = extract_many([one.plain() for one in asked], photos, cache=cache, progress=progress)
    again = {n: reading for n, one in enumerate(asked) if (reading := one.recalibrated()) is not None}
    more = extract_many(list(again.values()), photos, cache=cache, progress=progress)
    for number, extra in zip(again, more, strict=True):
        signals[number] = replace(signals[number], values={**signals[number].values, **extra.values})
    return signals


def _head_classes(populations: Populations, photos: Photos, seen: np.ndarray) -> HeadClasses:
    """The classes of a head trained on the ``seen`` of ``photos``: training numbers people in the order of their identities."""
    return HeadClasses(np.unique(np.asarray(photos.identity)[seen]), populations.track.head.scale)


def _possible(
    target: Target, requests: Sequence[SignalRequest], head: HeadClasses
) -> tuple[tuple[SignalRequest, ...], dict[str, str]]:
    """The requests that this backbone can serve, and the reasons for the others."""
    possible, missing_on_target = [], {}
    for request in requests:
        try:
            target.require(request.access, f"signal {request.key}")
            check_applicable(target, request, head)
            possible.append(request)
        except (NotApplicableError, AccessError) as error:
            missing_on_target[request.key] = str(error)
    return tuple(possible), missing_on_target


def _references(
    target: Target, populations: Populations, requests: Sequence[SignalRequest], photos: Photos, members: np.ndarray
) -> dict[str, ReferenceStatistics]:
    """Statistics that the attacker estimates: on public photos, or (``partial``) on those of ``photos`` known as members."""
    wanted = {r.compared_with for r in requests if r.compared_with} - {"stored"}
    found: dict[str, ReferenceStatistics] = {}
    for reference in sorted(wanted):
        if reference == "partial":
            known = photos.take(np.flatnonzero(members))
        else:
            known = populations.source(reference_pairs(populations), "reference")
        found[reference] = estimated_statistics(target, known, reference)
    return found
