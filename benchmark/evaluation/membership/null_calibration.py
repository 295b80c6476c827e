"""Null calibration: where membership is drawn at random, 95 % intervals must hold an AUC of 0.5 in 95 % of the draws.

The target's membership is drawn again, by the rule by which every backbone's was; the signals stay as they are, and so does the
membership of the shadows.  Whatever an attack finds then is chance, and the attack is fitted again every time: this also shows
that the shadows' halves do not give the target's away.  Intervals that hold 0.5 too rarely promise more than is known; those
that hold it too often are merely cautious.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binomtest

from benchmark.data.memberships import draw
from benchmark.evaluation.membership.evidence import Evidence
from benchmark.evaluation.membership.pooling import Scores
from benchmark.evaluation.membership.score_metrics import REPLICATES
from benchmark.evaluation.membership.scores import run_contrast
from benchmark.interfaces import AttackSpec, Contrast, FaceVeilError, NotApplicableError
from benchmark.metrics.intervals import LEVEL, Estimate, bootstrap_over_identities
from benchmark.metrics.roc import roc
from benchmark.protocol.registry import build_attack

NEVER_TRAINED = 1_000_000  # numbers from here on are no backbone's
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


def relabelled(evidence: Evidence, number: int) -> Evidence:
    """The same signals of a target whose membership is that of a backbone which nobody trained, by a ``number`` of its own."""
    populations = evidence.populations
    drawn = draw(populations.queried_pairs[:, 0], populations.track.split_seed, NEVER_TRAINED + number)
    return replace(evidence, populations=populations.relabelled(drawn.side, populations.labelled))


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
        evidence = relabelled(evidences[number % len(evidences)], seed * relabellings + number)
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
