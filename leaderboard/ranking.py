"""Ranking without a blended score: layers of entries that none significantly dominates.

An entry is a configuration: the records that differ by nothing but their seed.  Entries share a ranking only within one
:class:`Scope`.  Two axes count: utility (higher is better) and leakage (lower is better).

A significantly dominates B when A is at least as good as B on both axes by point estimate, and better by point estimate
*and* significantly on at least one.  The first half is Pareto dominance, a strict partial order, so the relation has no
cycles and its layers (Goldberg's non-dominated sorting, 1989) exist.  Rank 1 are the entries that none dominates,
rank 2 those that none dominates once rank 1 is set aside, and so on.  Entries of one layer are tied.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.interfaces import content_hash
from benchmark.record import Headline, Metric, Record

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2
_SEED = 2401_13719  # of the resampling of training seeds


@dataclass(frozen=True)
class Scope:
    """What entries must have in common to be ranked against each other."""

    track: str
    protocol_version: str
    board: str
    data_digest: str
    split_digest: str

    @staticmethod
    def of(record: Record) -> Scope:
        """The scope of a record."""
        origin = record.provenance
        return Scope(record.track, record.protocol_version, record.board, origin.data_digest, origin.split_digest)


@dataclass(frozen=True)
class Axis:
    """One axis of one entry.  ``value`` is the mean over seeds, ``low`` to ``high`` its 95 % interval; None: not measured."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    unit: str = ""
    per_seed: tuple[float, ...] = ()


@dataclass(frozen=True)
class RankedEntry:
    """A configuration with its place.  ``rank`` is None where it is not ranked; ``reasons`` then say why."""

    scope: Scope
    configuration: str
    label: str
    records: tuple[Record, ...]  # one a seed, those that the axes are made of
    utility: Axis
    leakage: Axis
    rank: int | None = None
    tied: bool = False
    dominated_by: tuple[str, ...] = ()  # labels
    reasons: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # runs of the configuration that do not count, with the reason

    @property
    def key(self) -> str:
        """A short stable name of the entry, for links."""
        return content_hash(*self.scope.__dict__.values(), self.configuration, length=10)


@dataclass(frozen=True)
class _Score:
    """An axis seen so that higher is better, with its bootstrap replicates (B,); B = 0: none."""

    value: float
    low: float | None
    high: float | None
    replicates: np.ndarray

    def significantly_above(self, other: _Score) -> bool:
        """97.5 % of the paired differences are above zero; without replicates: the intervals do not overlap."""
        size = min(len(self.replicates), len(other.replicates))
        if size:
            return bool(np.mean(self.replicates[:size] > other.replicates[:size]) >= 1 - _TAIL)
        return self.low is not None and other.high is not None and self.low > other.high


@dataclass(frozen=True)
class _Candidate:
    """A ranked entry with its two scores."""

    entry: RankedEntry
    scores: tuple[_Score, _Score]


def rank(records: Iterable[Record]) -> list[RankedEntry]:
    """Every record's entry: scope by scope, ranked ones first by (rank, name), then the unranked by name."""
    scopes: dict[Scope, list[Record]] = defaultdict(list)
    for record in records:
        scopes[Scope.of(record)].append(record)
    entries: list[RankedEntry] = []
    for scope in sorted(scopes, key=lambda s: tuple(s.__dict__.values())):
        entries.extend(_rank_scope(scope, scopes[scope]))
    return entries


def _rank_scope(scope: Scope, records: list[Record]) -> list[RankedEntry]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in _latest(records):
        groups[record.configuration].append(record)
    candidates, unranked = [], []
    for configuration in sorted(groups):
        entry, replicates = _entry(scope, configuration, groups[configuration])
        if entry.reasons:
            unranked.append(entry)
        else:
            candidates.append(_Candidate(entry, _scores(entry, *replicates)))
    candidates.sort(key=lambda c: _by_name(c.entry))
    ranked = _layers(candidates)
    return sorted(ranked, key=lambda e: (e.rank, _by_name(e))) + sorted(unranked, key=_by_name)


def _by_name(entry: RankedEntry) -> tuple[str, str]:
    return entry.label.casefold(), entry.configuration


def _latest(records: list[Record]) -> list[Record]:
    """One record a submission: the newest complete one, or the newest if none is complete.  In the order of the seeds."""
    kept: dict[str, Record] = {}
    for record in sorted(records, key=lambda r: (r.complete, r.provenance.created, r.provenance.submission_id)):
        kept[record.provenance.submission_id] = record
    return sorted(kept.values(), key=lambda r: (r.card.seed, r.provenance.submission_id))


def reasons_unranked(record: Record) -> tuple[str, ...]:
    """Why a record is not ranked; empty: it is."""
    reasons = list(record.unranked)
    if not record.complete and not reasons:
        reasons.append("incomplete: not every attack of the track and of the defence was run")
    if record.complete and not _measured(record.headline) and not reasons:
        reasons.append("no headline: utility or leakage could not be measured")
    return tuple(reasons)


def _measured(headline: Headline | None) -> bool:
    if headline is None:
        return False
    values = (headline.utility.value, headline.leakage.value)
    return all(v is not None and np.isfinite(v) for v in values)


def _entry(scope: Scope, configuration: str, runs: list[Record]) -> tuple[RankedEntry, tuple[np.ndarray, np.ndarray]]:
    """The entry of some runs, not yet placed, and its replicates (B,) of utility and of leakage."""
    why = [reasons_unranked(run) for run in runs]
    counted = [run for run, reasons in zip(runs, why, strict=True) if not reasons]
    left_out = [f"seed {run.card.seed}: {'; '.join(r)}" for run, r in zip(runs, why, strict=True) if r and counted]
    used = counted or runs
    headlines = [run.headline for run in used if run.headline is not None and _measured(run.headline)]
    utility, leakage = _replicates(headlines)
    entry = RankedEntry(
        scope=scope,
        configuration=configuration,
        label=_label(used),
        records=tuple(used),
        utility=_axis([h.utility for h in headlines], utility),
        leakage=_axis([h.leakage for h in headlines], leakage),
        reasons=() if counted else tuple(dict.fromkeys(r for reasons in why for r in reasons)),
        left_out=tuple(left_out),
    )
    return entry, (utility, leakage)


def _scores(entry: RankedEntry, utility: np.ndarray, leakage: np.ndarray) -> tuple[_Score, _Score]:
    up, down = entry.utility, entry.leakage
    low = None if down.high is None else -down.high
    high = None if down.low is None else -down.low
    return _Score(up.value, up.low, up.high, utility), _Score(-down.value, low, high, -leakage)


def _label(runs: list[Record]) -> str:
    """The name that all seeds share, or else what was trained."""
    names = {run.card.name for run in runs}
    return names.pop() if len(names) == 1 else runs[0].card.defense_label


def _replicates(headlines: Sequence[Headline]) -> tuple[np.ndarray, np.ndarray]:
    """Replicates (B,) of the mean over seeds, of utility and of leakage; empty where a seed has none.

    Replicate b resamples the seeds with replacement, alike for all entries with as many seeds, so that comparisons are
    paired over people (by the evaluation) and over seeds.
    """
    rows = [(h.utility_replicates, h.leakage_replicates) for h in headlines]
    size = min((min(len(u), len(v)) for u, v in rows), default=0)
    values = np.array([(u[:size], v[:size]) for u, v in rows], dtype=float).reshape(len(rows), 2, size)  # (S, 2, B)
    if size == 0 or not np.isfinite(values).all():
        return np.zeros(0), np.zeros(0)
    if len(rows) > 1:
        seeds = np.random.default_rng((_SEED, len(rows))).integers(len(rows), size=(size, len(rows)))
        values = values[seeds.T, :, np.arange(size)].transpose(0, 2, 1)
    utility, leakage = values.mean(axis=0)
    return utility, leakage


def envelope(metrics: Sequence[Metric]) -> tuple[float | None, float | None]:
    """The lowest and the highest end of some intervals; None, None where one has no interval."""
    lows = [m.low for m in metrics if m.low is not None]
    highs = [m.high for m in metrics if m.high is not None]
    return (min(lows), max(highs)) if len(lows) == len(highs) == len(metrics) > 0 else (None, None)


def _axis(metrics: Sequence[Metric], replicates: np.ndarray) -> Axis:
    """Mean over seeds.  Interval: percentiles of the replicates; without any, the envelope of the seeds' own intervals."""
    if not metrics:
        return Axis()
    values = tuple(float(m.value) for m in metrics if m.value is not None)
    if len(replicates):
        low, high = (float(v) for v in np.quantile(replicates, [_TAIL, 1 - _TAIL]))
    else:
        low, high = envelope(metrics)
    n = min(m.n for m in metrics)
    return Axis(float(np.mean(values)), low, high, n, metrics[0].unit, values)


def _layers(candidates: list[_Candidate]) -> list[RankedEntry]:
    dominates = _dominance(candidates)
    remaining = np.ones(len(candidates), bool)
    entries: list[RankedEntry] = []
    layer = 0
    while remaining.any():
        layer += 1
        front = remaining & ~dominates[remaining].any(axis=0)
        for i in np.flatnonzero(front):
            better = tuple(candidates[j].entry.label for j in np.flatnonzero(dominates[:, i]))
            entries.append(replace(candidates[i].entry, rank=layer, tied=front.sum() > 1, dominated_by=better))
        remaining &= ~front
    return entries


def _dominance(candidates: Sequence[_Candidate]) -> np.ndarray:
    """(N, N) bool: the entry of the row significantly dominates that of the column."""
    points = np.array([[score.value for score in c.scores] for c in candidates]).reshape(-1, 2)
    result = np.zeros((len(candidates), len(candidates)), bool)
    for i, candidate in enumerate(candidates):
        above = points[i] > points
        pareto = (points[i] >= points).all(axis=1) & above.any(axis=1)
        for j in np.flatnonzero(pareto):
            pairs = zip(candidate.scores, candidates[j].scores, above[j], strict=True)
            result[i, j] = any(is_above and mine.significantly_above(theirs) for mine, theirs, is_above in pairs)
    return result
