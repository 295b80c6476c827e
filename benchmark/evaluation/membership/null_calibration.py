"""Null calibration: where membership is drawn by lot, 95 % intervals must hold an AUC of 0.5 in 95 % of the draws.

Labels are drawn anew over signals that stay as they are: on the sample contrast which of a person's photos were seen, on the
others which people were members.  Whatever an attack finds then is chance, and the attack is fitted anew every time.
Intervals that hold 0.5 too rarely promise more than is known; those that hold it too often are merely cautious.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from benchmark.data.populations import HELD_OUT, SEEN, SIDES, UNSEEN
from benchmark.evaluation.membership.evidence import Evidence
from benchmark.evaluation.membership.score_metrics import REPLICATES
from benchmark.evaluation.membership.scores import Scores, run_contrast
from benchmark.interfaces import AttackSpec, Contrast, FaceVeilError, NotApplicableError
from benchmark.metrics.intervals import LEVEL, Estimate, bootstrap_over_identities
from benchmark.metrics.roc import roc
from benchmark.protocol.registry import build_attack

Ints = NDArray[np.int64]
OUTSIDE = -1  # photos that take no part in a contrast
ERROR = 0.05  # of all attacks together


@dataclass(frozen=True)
class Coverage:
    """How often the intervals of one attack held 0.5, over ``trials`` draws; ``above`` and ``below`` count the misses."""

    label: str
    contrast: Contrast
    trials: int
    above: int
    below: int
    mean_auc: float

    @property
    def covered(self) -> int:
        return self.trials - self.above - self.below

    def p_value(self, alternative: str = "less") -> float:
        """Exact binomial: of so few (``less``), so many (``greater``) or so unusual (``two-sided``) a number of hits."""
        return float(binomtest(self.covered, self.trials, LEVEL, alternative).pvalue)

    def accepted(self, attacks: int) -> bool:
        """Whether the intervals hold 0.5 often enough, among so many attacks that are tested (Bonferroni)."""
        return self.p_value() >= ERROR / attacks


def draw_sides(side: Ints, identity: Ints, contrast: Contrast, rng: np.random.Generator) -> Ints:
    """(N,) sides drawn by lot: as many of each as there were.

    On the sample contrast seen and unseen change places within each person; on the others whole people change, and photos
    of the side that the contrast leaves out are ``OUTSIDE``.
    """
    drawn = np.asarray(side, np.int64).copy()
    if contrast == Contrast.SAMPLE:
        photos = np.flatnonzero(np.isin(side, (SEEN, UNSEEN)))
        in_order = photos[np.argsort(identity[photos], kind="stable")]
        shuffled = photos[np.lexsort((rng.random(len(photos)), identity[photos]))]
        drawn[shuffled] = side[in_order]
        return drawn
    positive = SIDES[contrast][0]
    drawn[~np.isin(side, SIDES[contrast])] = OUTSIDE
    taking_part = drawn != OUTSIDE
    people = np.unique(identity[taking_part])
    members = len(np.unique(identity[drawn == positive]))
    chosen = rng.permutation(people)[:members]
    drawn[taking_part] = np.where(np.isin(identity[taking_part], chosen), positive, HELD_OUT)
    return drawn


def draw_labelled(side: Ints, identity: Ints, contrast: Contrast, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(N,) photos of people whose membership is known: ``share`` of those on each side of the contrast, by lot."""
    known = []
    for value in SIDES[contrast]:
        people = np.unique(identity[side == value])
        known.append(rng.permutation(people)[: round(share * len(people))])
    return np.isin(identity, np.concatenate(known))


def relabelled(evidence: Evidence, contrast: Contrast, rng: np.random.Generator) -> Evidence:
    """The same signals with membership drawn by lot."""
    populations = evidence.populations
    side = draw_sides(populations.side, evidence.identity, contrast, rng)
    labelled = populations.labelled
    if contrast != Contrast.SAMPLE:  # within people nothing changes about who is known
        labelled = draw_labelled(side, evidence.identity, contrast, populations.track.partial_share, rng)
    return replace(evidence, populations=populations.relabelled(side, labelled))


def auc_interval(scores: Scores, seed: int) -> Estimate:
    """The AUC with its interval over people, as a record has it."""
    positive = scores.label == 1
    return bootstrap_over_identities(
        lambda weights: roc(scores.score, positive, weights).auc(),
        scores.identity,
        labels=positive,
        replicates=REPLICATES,
        seed=seed,
    )


def coverage(spec: AttackSpec, evidences: Sequence[Evidence], contrast: Contrast, *, relabellings: int, seed: int) -> Coverage:
    """Runs one attack on ``relabellings`` draws, spread over the targets in ``evidences`` in turn.

    Raises:
        FaceVeilError: the attack cannot be run on a draw, or an interval does not exist.
    """
    above = below = 0
    values = []
    for number in range(relabellings):
        evidence = relabelled(evidences[number % len(evidences)], contrast, np.random.default_rng([seed, number]))
        found = auc_interval(run_contrast(spec, evidence, contrast), seed)
        if found.value is None or found.low is None or found.high is None:
            raise FaceVeilError(f"{spec.label} on {contrast.value}: draw {number} has no interval.")
        values.append(found.value)
        above += found.low > 0.5
        below += found.high < 0.5
    return Coverage(spec.label, contrast, relabellings, int(above), int(below), float(np.mean(values)))


def null_calibration(
    evidences: Sequence[Evidence],
    specs: Sequence[AttackSpec],
    *,
    relabellings: int,
    contrasts: Sequence[Contrast] = tuple(Contrast),
    seed: int = 0,
    progress: Callable[[Coverage], None] = lambda _found: None,
) -> list[Coverage]:
    """Every attack on every one of ``contrasts`` that it has a meaning for; what does not apply to a target is left out."""
    results = []
    for spec in specs:
        attack = build_attack(spec)
        missing = [r.key for r in attack.requests() for e in evidences if r.key in e.missing_on_target]
        for contrast in [c for c in attack.contrasts if c in contrasts and not missing]:
            try:
                results.append(coverage(spec, evidences, contrast, relabellings=relabellings, seed=seed))
            except NotApplicableError:
                continue
            progress(results[-1])
    return results
