"""Scores of a membership attack -> its metrics, each with an interval over people and targets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmark.evaluation.membership.pooling import Scores
from benchmark.metrics.binned_curves import bootstrap_curves
from benchmark.metrics.intervals import Bootstrap
from benchmark.metrics.roc import NEGATIVES_PER_TARGET, Roc, is_measurable, operating_point, roc
from benchmark.records.results import Metric

Floats = NDArray[np.float64]
REPLICATES = 1000
FPRS = {"1e-2": 1e-2, "1e-3": 1e-3}


def _bootstrap(scores: Scores, seed: int) -> dict[str, Bootstrap]:
    positive = scores.label == 1
    rates = [a for a in FPRS.values() if is_measurable(int((~positive).sum()), a)]

    def statistics(curve: Roc) -> Mapping[str, Floats]:
        values = {"auc": curve.auc(), "advantage": curve.advantage(), "balanced_accuracy": curve.balanced_accuracy()}
        for rate in rates:
            values[f"tpr@fpr={rate}"] = curve.tpr_at_fpr(rate)[0]
        return values

    return bootstrap_curves(
        statistics, scores.score, positive, scores.identity, scores.target, rates=rates, replicates=REPLICATES, seed=seed
    )


def contrast_metrics(scores: Scores, *, blind: float, seed: int) -> tuple[dict[str, Metric], dict[str, float]]:
    """AUC, advantage, balanced accuracy, TPR at fixed FPR, and the AUC in excess of the best blind classifier.

    Values are those of all scores of all targets together, intervals resample people and, where there are several, targets.
    Advantage and balanced accuracy are those of the best threshold on these very scores: an upper edge, not the headline.

    Returns:
        Metrics by name, and the realised FPR of each TPR@FPR.
    """
    found = _bootstrap(scores, seed)
    curve = roc(scores.score, scores.label == 1)
    exact = {
        "auc": float(curve.auc()[0]),
        "balanced_accuracy": float(curve.balanced_accuracy()[0]),
        "advantage": float(curve.advantage()[0]),
    }
    metrics = {name: _metric(found[name], value, scores) for name, value in exact.items()}
    realised: dict[str, float] = {}
    for name, rate in FPRS.items():
        point = operating_point(curve, rate)
        key = f"tpr@fpr={name}"
        if point.fpr is None or point.tpr is None:
            needed = round(NEGATIVES_PER_TARGET / rate)
            note = f"not measurable: {point.n_negative} negatives, {needed} needed"
            metrics[key] = Metric(value=None, n=point.n_negative, higher_is_better=False, note=note)
        else:
            metrics[key] = _metric(found[f"tpr@fpr={rate}"], point.tpr, scores)
            realised[key] = point.fpr
    auc = metrics["auc"]
    if auc.value is not None and auc.low is not None and auc.high is not None:
        update = {"value": auc.value - blind, "low": auc.low - blind, "high": auc.high - blind}
        metrics["excess_over_blind"] = auc.model_copy(update={**update, "note": f"blind AUC {blind:.3f}"})
    return metrics, realised


def _metric(found: Bootstrap, value: float, scores: Scores) -> Metric:
    """A bootstrapped metric, whose value is taken from all thresholds."""
    metric = Metric.of(found.estimate, higher_is_better=False)
    if metric.value is None:
        return metric
    levels = f", people and {scores.targets} targets resampled" if scores.targets > 1 else ""
    return metric.model_copy(update={"value": value, "method": f"{metric.method}{levels}"})


def auc_estimate(scores: Scores, *, seed: int) -> tuple[float, float]:
    """AUC and its standard deviation over resampled people and targets."""
    positive = scores.label == 1
    found = bootstrap_curves(
        lambda curve: {"auc": curve.auc()}, scores.score, positive, scores.identity, scores.target, replicates=400, seed=seed
    )["auc"]
    value = found.estimate.value
    return (0.5 if value is None else value), float(np.nanstd(found.replicates))
