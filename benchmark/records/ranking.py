"""Ranking without a blended score: layers of entries that none significantly dominates.

An entry is a configuration.  Entries share a ranking only within one :class:`Scope`.  Two axes count: utility (higher is
better) and leakage (lower is better).  A leakage that is not significantly above 0 is *nothing found* and counts as 0: of two
entries in which nothing was found, neither leaks less.

A significantly dominates B when A is at least as good as B on both axes by point estimate, and better by point estimate
*and* significantly on at least one, or when it dominates an entry that dominates B.  The first is part of Pareto dominance
and has no cycle, the second makes it transitive: a strict partial order, so its layers (Goldberg's non-dominated sorting,
1989) exist.  Rank 1 are the entries that none dominates, rank 2 those that none dominates once rank 1 is set aside, and so on.
Entries of one layer are tied; they are listed by utility, best first.

Every interval shown is the record's own.  Replicates serve comparisons alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from benchmark.interfaces import content_hash
from benchmark.records.controls import (
    NO_GAIN,
    PUBLIC_ONLY,
    UNDEFENDED,
    Gain,
    ValueGate,
    control,
    differences,
    siblings,
    value_gate,
)
from benchmark.records.dominance import TAIL, AxisValues, dominance
from benchmark.records.record import Record
from benchmark.records.results import Headline, Metric, nothing_found
from benchmark.records.runs import Run, Scope

_SEED = 2401_13719  # of the resampling of training seeds
NAMED = 20  # dominating entries that are named; how many there are is counted


@dataclass(frozen=True)
class Axis:
    """One axis of one entry: the record's value and 95 % interval; None: not measured.

    Of an entry with several records (seeds, in protocol 0.2) it is the mean over them, ``per_seed`` being its parts.
    """

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
    runs: tuple[Run, ...]  # those that the axes are made of: one, or one a seed
    utility: Axis
    leakage: Axis
    gain: Gain = NO_GAIN  # of utility over public_only
    utility_change: Gain = NO_GAIN  # against undefended
    leakage_change: Gain = NO_GAIN
    rank: int | None = None
    tied: bool = False
    dominated_by: tuple[str, ...] = ()  # labels, the first of them
    dominators: int = 0  # how many there are
    reasons: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # runs of the configuration that do not count, with the reason

    @property
    def nothing_found(self) -> bool:
        """Its leakage is not significantly above 0; ``leakage.high`` is what cannot be ruled out."""
        return nothing_found(self.leakage)

    @property
    def bought_nothing(self) -> bool:
        """Its utility is significantly below that of training on public faces alone."""
        return self.gain.bought_nothing

    @property
    def control(self) -> bool:
        """Whether it is a control rather than a defence."""
        return all(set(run.defense_names) <= {"undefended", PUBLIC_ONLY} for run in self.runs)

    @cached_property
    def key(self) -> str:
        """A short stable name of the entry, for links."""
        scope = self.scope
        parts = (scope.track, scope.protocol_version, scope.board, scope.data_digest, scope.split_digest)
        return content_hash(*parts, self.configuration, length=10)


@dataclass(frozen=True)
class _Candidate:
    """A ranked entry with its replicates (B,) of utility and of leakage."""

    entry: RankedEntry
    replicates: tuple[np.ndarray, np.ndarray]


def rank(records: Iterable[Record]) -> list[RankedEntry]:
    """Every record's entry: scope by scope, ranked ones first by (rank, utility), then the unranked by name."""
    return rank_runs(Run.of(record) for record in records)


def rank_runs(runs: Iterable[Run]) -> list[RankedEntry]:
    """:func:`rank` of records in brief."""
    scopes = by_scope(runs)
    return [entry for scope in scopes for entry in rank_scope(scope, scopes[scope], companions(scope, scopes))]


def by_scope(runs: Iterable[Run]) -> dict[Scope, list[Run]]:
    """Runs by scope, in the order in which scopes are listed."""
    scopes: dict[Scope, list[Run]] = defaultdict(list)
    for run in runs:
        scopes[run.scope].append(run)
    return {scope: scopes[scope] for scope in sorted(scopes, key=scope_order)}


def companions(scope: Scope, scopes: Mapping[Scope, Sequence[Run]]) -> list[Run]:
    """Runs of the scope and of those judged on the same people, where its controls are looked for."""
    return [run for other, runs in scopes.items() if siblings(other) == siblings(scope) for run in runs]


def scope_gate(scope: Scope, runs: Sequence[Run]) -> ValueGate:
    """The value gate of a scope, from its :func:`companions`."""
    return value_gate([run for run in runs if siblings(run.scope) == siblings(scope)])


def scope_order(scope: Scope) -> tuple[str, ...]:
    """The order in which scopes are listed."""
    return (scope.track, scope.protocol_version, scope.board, scope.data_digest, scope.split_digest)


def rank_scope(scope: Scope, runs: Iterable[Run], companions: Sequence[Run] | None = None) -> list[RankedEntry]:
    """The entries of one scope in ranking order.

    Args:
        companions: where the controls are looked for; default the runs themselves.
    """
    counted = _latest(runs)
    pool = counted if companions is None else _latest(companions)  # a control that was trained again is one control
    public, plain, gate = control(pool, PUBLIC_ONLY), control(pool, UNDEFENDED), scope_gate(scope, pool)
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in counted:
        groups[run.configuration].append(run)
    candidates, unranked = [], []
    for configuration in sorted(groups):
        entry, replicates = _entry(scope, configuration, groups[configuration])
        if gate.passed is False:
            entry = replace(entry, reasons=(*entry.reasons, gate.reason))
        if entry.reasons:
            unranked.append(entry)
        else:
            candidates.append(_Candidate(entry, replicates))
    candidates.sort(key=lambda c: _by_name(c.entry))
    entries = sorted(_placed(candidates), key=_in_order) + sorted(unranked, key=_by_name)
    return _compared(entries, public, plain)


def _compared(entries: list[RankedEntry], public: Run | None, plain: Run | None) -> list[RankedEntry]:
    """The entries with their differences from the controls; those of several records have none."""
    single = [entry.runs[0] for entry in entries if len(entry.runs) == 1]
    gains = iter(differences(single, public, "utility"))
    changes = iter(zip(differences(single, plain, "utility"), differences(single, plain, "leakage"), strict=True))
    compared = []
    for entry in entries:
        if len(entry.runs) == 1:
            utility, leakage = next(changes)
            entry = replace(entry, gain=next(gains), utility_change=utility, leakage_change=leakage)
        compared.append(entry)
    return compared


def _in_order(entry: RankedEntry) -> tuple[int, float, tuple[str, str]]:
    """By rank, then by utility, best first."""
    return entry.rank or 0, -float(entry.utility.value or 0.0), _by_name(entry)


def _by_name(entry: RankedEntry) -> tuple[str, str]:
    return entry.label.casefold(), entry.configuration


def _latest(runs: Iterable[Run]) -> list[Run]:
    """One run per submission: the newest complete one, or the newest if none is complete.  In the order of the seeds.

    A verified training is identified by its seed: another machine's weights differ in their last digits and are no second
    seed.  Equal weights under other defences are entries of their own: a defence that changes nothing has the undefended
    weights.
    """
    kept: dict[tuple[str, str | int], Run] = {}
    for run in sorted(runs, key=lambda r: (r.complete, r.created, r.submission_id)):
        from_outside = run.board == "weights"
        kept[run.configuration, run.submission_id if from_outside else run.seed] = run
    return sorted(kept.values(), key=lambda r: (r.seed, r.submission_id))


def reasons_unranked(run: Run) -> tuple[str, ...]:
    """Why a record is not ranked; empty: it is."""
    reasons = list(run.unranked)
    if not run.complete and not reasons:
        reasons.append("incomplete: not every attack of the track and of the defence was run")
    if run.complete and not _measured(run.headline) and not reasons:
        reasons.append("no headline: utility or leakage could not be measured")
    return tuple(reasons)


def _measured(headline: Headline | None) -> bool:
    if headline is None:
        return False
    values = (headline.utility.value, headline.leakage.value)
    return all(v is not None and np.isfinite(v) for v in values)


def _entry(scope: Scope, configuration: str, runs: list[Run]) -> tuple[RankedEntry, tuple[np.ndarray, np.ndarray]]:
    """The entry of some runs, not yet placed, and its replicates (B,) of utility and of leakage."""
    why = [reasons_unranked(run) for run in runs]
    counted = [run for run, reasons in zip(runs, why, strict=True) if not reasons]
    left_out = [f"seed {run.seed}: {'; '.join(r)}" for run, r in zip(runs, why, strict=True) if r and counted]
    used = counted or runs
    measured = [run for run in used if _measured(run.headline)]
    headlines = [run.headline for run in measured if run.headline is not None]
    utility, leakage = _replicates(measured)
    entry = RankedEntry(
        scope=scope,
        configuration=configuration,
        label=_label(used),
        runs=tuple(used),
        utility=_axis([h.utility for h in headlines], utility),
        leakage=_axis([h.leakage for h in headlines], leakage),
        reasons=() if counted else tuple(dict.fromkeys(r for reasons in why for r in reasons)),
        left_out=tuple(left_out),
    )
    return entry, (utility, leakage)


def _label(runs: list[Run]) -> str:
    """The name that all seeds share, or else what was trained."""
    names = {run.name for run in runs}
    return names.pop() if len(names) == 1 else runs[0].defense


def _replicates(runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Replicates (B,) of the mean over seeds, of utility and of leakage; empty where a seed has none.

    Replicate b resamples the seeds with replacement, alike for all entries with as many seeds, so that comparisons are
    paired over people (by the evaluation) and over seeds.
    """
    rows = [(run.utility_replicates, run.leakage_replicates) for run in runs]
    if len(rows) == 1 and len(rows[0][0]) == len(rows[0][1]) and np.isfinite(rows[0]).all():
        return rows[0]
    size = min((min(len(u), len(v)) for u, v in rows), default=0)
    values = np.array([(u[:size], v[:size]) for u, v in rows], dtype=float).reshape(len(rows), 2, size)  # (S, 2, B)
    if size == 0 or not np.isfinite(values).all():
        return np.zeros(0), np.zeros(0)
    if len(rows) > 1:
        seeds = np.random.default_rng((_SEED, len(rows))).integers(len(rows), size=(size, len(rows)))
        values = values[seeds.T, :, np.arange(size)].transpose(0, 2, 1)
    utility, leakage = values.mean(axis=0)
    return utility, leakage


def entry_replicates(entry: RankedEntry) -> tuple[np.ndarray, np.ndarray]:
    """Replicates (B,) of an entry's utility and leakage, paired with those of its scope; empty where it has none."""
    return _replicates([run for run in entry.runs if _measured(run.headline)])


def envelope(ends: Sequence[tuple[float | None, float | None]]) -> tuple[float | None, float | None]:
    """The lowest and the highest end of some intervals; None, None where one has no interval."""
    lows = [low for low, _ in ends if low is not None and low == low]
    highs = [high for _, high in ends if high is not None and high == high]
    return (min(lows), max(highs)) if len(lows) == len(highs) == len(ends) > 0 else (None, None)


def _axis(metrics: Sequence[Metric], replicates: np.ndarray) -> Axis:
    """The record's own value and interval; of several records the mean with percentiles of the replicates.

    Several without replicates have the envelope of their intervals.
    """
    if not metrics:
        return Axis()
    values = tuple(float(m.value) for m in metrics if m.value is not None)
    n, unit = min(m.n for m in metrics), metrics[0].unit
    if len(metrics) == 1:
        return Axis(values[0], metrics[0].low, metrics[0].high, n, unit, values)
    low: float | None
    high: float | None
    if len(replicates):
        low, high = (float(v) for v in np.quantile(replicates, [TAIL, 1 - TAIL]))
    else:
        low, high = envelope([(m.low, m.high) for m in metrics])
    return Axis(float(np.mean(values)), low, high, n, unit, values)


def _placed(candidates: list[_Candidate]) -> list[RankedEntry]:
    """The candidates with their ranks."""
    utility = AxisValues.of([c.entry.utility for c in candidates], [c.replicates[0] for c in candidates])
    leaks = [_for_comparison(c) for c in candidates]
    leakage = AxisValues.of([axis for axis, _ in leaks], [replicates for _, replicates in leaks], sign=-1)
    found = dominance(utility, leakage)
    shared = np.bincount(found.layers)
    by_rank = np.lexsort((found.order, found.layers[found.order]))
    entries = []
    for place, number in enumerate(found.order):
        better = found.dominators(place, by_rank)
        named = tuple(candidates[j].entry.label for j in better[:NAMED])
        layer = int(found.layers[number])
        tied = bool(shared[layer] > 1)
        entry = replace(candidates[number].entry, rank=layer, tied=tied, dominated_by=named, dominators=len(better))
        entries.append(entry)
    return entries


def _for_comparison(candidate: _Candidate) -> tuple[Axis, np.ndarray]:
    """An entry's leakage and its replicates as they are compared: 0 where nothing was found."""
    axis, replicates = candidate.entry.leakage, candidate.replicates[1]
    if not candidate.entry.nothing_found:
        return axis, replicates
    return replace(axis, value=0.0, low=0.0, high=0.0), np.zeros_like(replicates)
