"""The audit of one training: what its canaries prove, beside what its accountant promises."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from benchmark.data.populations import Populations
from benchmark.evaluation.audit.canaries import Canaries, CanaryFile, draw_canaries
from benchmark.evaluation.audit.canary_scores import score_canaries
from benchmark.interfaces import Access, FaceVeilError
from benchmark.metrics.empirical_epsilon import LowerBound, one_run_bound, threshold_bound
from benchmark.metrics.gaussian_epsilon import gaussian_one_run_bound
from benchmark.metrics.intervals import bootstrap_over_identities
from benchmark.metrics.roc import roc
from benchmark.records.results import CanaryAudit, EpsilonBound, Metric
from benchmark.signals.target import Target
from benchmark.submissions.card import Claim
from benchmark.submissions.submission import Submission

UNCLAIMED_DELTA = 1e-5  # at which the bounds of a training without a claim are given


def open_canaries(file: CanaryFile, populations: Populations) -> Canaries:
    """The canaries of a secret file, drawn again on the track's photos.

    Raises:
        FaceVeilError: the photos are others than those that the file's coins were thrown for.
    """
    if file.split_digest != populations.split_digest:
        raise FaceVeilError(
            f"these canaries were drawn on other photos of {file.track!r}: pass the --data that the training was given."
        )
    canaries = draw_canaries(populations, file.plan)
    if tuple(canaries.included.tolist()) != file.included:
        raise FaceVeilError("the canary file contradicts itself: its coins are not those of its seed. It was changed.")
    return canaries


def audit_canaries(
    submission: Submission,
    populations: Populations,
    canaries: Canaries,
    *,
    device: torch.device | str = "cpu",
    cache: Path | None = None,
    control: bool = False,
) -> CanaryAudit:
    """Lower bounds of epsilon from the canaries, in their unit, and the claim of the card where it is in that unit.

    Args:
        control: the submission was trained on none of the canaries: nothing may be found.

    Raises:
        NotApplicableError: canaries that cannot be scored.
    """
    target = Target(submission, Access.WEIGHTS, device)
    score = score_canaries(target, populations, canaries, cache=cache)
    coin = canaries.included
    claim, without = comparable_claim(submission.card.claim, canaries.plan.unit)
    unit = canaries.plan.unit
    delta = claim.delta if claim else UNCLAIMED_DELTA
    bounds = lower_bounds(score, coin, delta)
    auc = bootstrap_over_identities(
        lambda weights: roc(score, coin, weights).auc(), range(len(score)), labels=coin, seed=canaries.plan.seed
    )
    return CanaryAudit(
        unit=unit,
        kind=canaries.plan.kind,
        canaries=len(coin),
        included=int(coin.sum()),
        seed=canaries.plan.seed,
        control=control,
        attack="regrown head, log-posterior of the canary's name",
        auc=Metric.of(auc, higher_is_better=False, unit="canaries"),
        lower=tuple(EpsilonBound(**asdict(bound)) for bound in bounds),
        upper=claim,
        note=without,
    )


def lower_bounds(score: np.ndarray, coin: np.ndarray, delta: float) -> list[LowerBound]:
    """All bounds of canary scores (m,) and their coins (m,); that of a Gaussian training only at a delta above 0."""
    methods = [threshold_bound, one_run_bound, *([gaussian_one_run_bound] if delta > 0 else [])]
    return [bound(score, coin, delta=delta) for bound in methods]


def comparable_claim(claim: Claim | None, unit: str) -> tuple[Claim | None, str]:
    """The claim where it is about the whole model and in this unit; else None, and why there is nothing to compare with."""
    if claim is None:
        return None, "no epsilon is claimed"
    if claim.covers != "model":
        return None, f"the claimed epsilon covers the {claim.covers.replace('_', ' ')} alone, not the model"
    if claim.unit != unit:
        return None, f"the claimed epsilon is per {claim.unit}, the canaries are in the unit {unit}"
    return claim, ""


def check_claim(audit: CanaryAudit) -> None:
    """Raises where a lower bound exceeds the claim: one of the two is wrong, and the text says which.

    Raises:
        FaceVeilError: the claim is refuted.
    """
    if audit.upper is None or audit.control:
        return
    worst = max(audit.lower, key=lambda bound: bound.epsilon)
    if worst.epsilon > audit.upper.epsilon:
        raise FaceVeilError(
            f"the claim is wrong: epsilon {audit.upper.epsilon:.3g} per {audit.unit} is claimed, the canaries prove at least "
            f"{worst.epsilon:.3g} ({worst.method}, {worst.confidence:.0%}, {worst.detail}). Hypothesis of that bound: "
            f"{worst.hypothesis or 'not recorded'}. It was measured on the "
            "weights; the upper bound trusts that the training did what the accountant assumes (noise, clipping per "
            f"{audit.unit}, Poisson batches, no BatchNorm). One audit in twenty is wrong by chance: train again with another "
            "--canary-seed to see which it is."
        )
