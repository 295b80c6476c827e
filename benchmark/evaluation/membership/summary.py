"""One membership attack over all targets of an entry: its result, every metric with an interval over people and targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmark.evaluation.membership.evidence import Evidence
from benchmark.evaluation.membership.pooling import AS_THEY_ARE, BY_RANK, Scores, comparable, pooled
from benchmark.evaluation.membership.score_metrics import contrast_metrics
from benchmark.evaluation.membership.scores import TargetScores, score_target
from benchmark.interfaces import AttackSpec, Contrast
from benchmark.metrics.roc import auc, log_spaced_roc
from benchmark.protocol.registry import build_attack
from benchmark.records.results import AttackResult, ContrastResult


def summarise(
    spec: AttackSpec,
    found: Mapping[int, TargetScores],
    *,
    adaptive: bool,
    blind: Mapping[Contrast, float],
    seed: int,
) -> tuple[AttackResult, dict[Contrast, Scores]]:
    """One attack's result over all targets, by number: metrics of the contrasts that it has scores on for every one of them.

    Args:
        blind: the strongest blind AUC of each contrast.

    Returns:
        The result (``not_applicable`` or ``failed`` with a reason, rather than a number, where there is none) and the scores
        of all targets together.
    """
    attack = build_attack(spec)
    update: dict[str, Any]
    result = AttackResult(spec=spec, adaptive=adaptive, access=attack.required_access(), knowledge=attack.knowledge)
    for status in ("failed", "not_applicable"):
        for number, own in found.items():
            if own.status == status:
                update = {"status": status, "reason": _reason(number, found), "not_applicable": own.not_applicable}
                return result.model_copy(update=update), {}
    missing = _missing_contrasts(found)
    left = [contrast for contrast in attack.contrasts if contrast not in missing]
    if not left:
        update = {"status": "not_applicable", "reason": next(iter(missing.values())), "not_applicable": missing}
        return result.model_copy(update=update), {}
    as_they_are = comparable(attack)
    scores = {c: pooled([own.scores[c] for own in found.values()], list(found), as_they_are=as_they_are) for c in left}
    how = "" if len(found) == 1 else AS_THEY_ARE if as_they_are else BY_RANK
    worst = max(found.values(), key=lambda own: own.peak_memory_mb)
    update = {
        "not_applicable": missing,
        "contrasts": {c: describe(c, s, blind.get(c, 0.5), seed, how) for c, s in scores.items()},
        "seconds": sum(own.seconds for own in found.values()),
        "peak_memory_mb": worst.peak_memory_mb,
        "memory_measure": worst.memory_measure,
        "queries": max(own.queries for own in found.values()),
    }
    return result.model_copy(update=update), scores


def run_attack(
    spec: AttackSpec, evidence: Evidence, *, adaptive: bool = False, blind: Mapping[Contrast, float], seed: int
) -> tuple[AttackResult, dict[Contrast, Scores]]:
    """One attack on one target alone; see :func:`summarise`."""
    number = evidence.populations.number
    return summarise(spec, {number: score_target(spec, evidence)}, adaptive=adaptive, blind=blind, seed=seed)


def _missing_contrasts(found: Mapping[int, TargetScores]) -> dict[Contrast, str]:
    """The contrasts that some target has no scores on, with the first such target's reason."""
    missing: dict[Contrast, str] = {}
    for number, own in found.items():
        for contrast, reason in own.not_applicable.items():
            alike = all(other.not_applicable.get(contrast) == reason for other in found.values())
            missing.setdefault(contrast, reason if alike else reason + _of_number(number, found))
    return missing


def _reason(number: int, found: Mapping[int, TargetScores]) -> str:
    """Why one target has no score, and which it is where others have another reason or none."""
    reason = found[number].reason
    return reason if all(own.reason == reason for own in found.values()) else reason + _of_number(number, found)


def _of_number(number: int, found: Mapping[int, TargetScores]) -> str:
    """Which target is meant, where there are several."""
    return f" (backbone {number} of {len(found)})" if len(found) > 1 else ""


def describe(contrast: Contrast, scores: Scores, blind: float, seed: int, pooling: str = "") -> ContrastResult:
    """Metrics with intervals over people and targets."""
    metrics, realised = contrast_metrics(scores, blind=blind, seed=seed)
    each = [scores.of(number) for number in np.unique(scores.target)] if scores.targets > 1 else []
    return ContrastResult(
        contrast=contrast,
        people=len(np.unique(scores.identity)),
        n_positive=int(scores.label.sum()),
        n_negative=int((1 - scores.label).sum()),
        metrics=metrics,
        realised_fpr=realised,
        roc=log_spaced_roc(scores.score, scores.label, points=200),
        scores_sha256=scores.sha256,
        targets=scores.targets,
        pooling=pooling,
        auc_by_target=tuple(round(float(auc(s.score, s.label)), 5) for s in each),
    )
