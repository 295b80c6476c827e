"""Scores of a membership attack -> its metrics, each with an interval over people."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics.intervals import Bootstrap, bootstrap_many
from benchmark.metrics.roc import NEGATIVES_PER_TARGET, is_measurable, operating_point, roc
from benchmark.records.results import Metric

Floats = NDArray[np.float64]
REPLICATES = 1000
FPRS = {"1e-2": 1e-2, "1e-3": 1e-3}


def _bootstrap(score: Floats, label: NDArray[np.int64], identity: NDArray[np.int64], seed: int) -> dict[str, Bootstrap]:
    positive = label == 1
    targets = [a for a in FPRS.values() if is_measurable(int((~positive).sum()), a)]

    def statistics(weights: Floats) -> Mapping[str, Floats]:
        curve = roc(score, positive, weights)
        values = {"auc": curve.auc(), "advantage": curve.advantage(), "balanced_accuracy": curve.balanced_accuracy()}
        for target in targets:
            values[f"tpr@fpr={target}"] = curve.tpr_at_fpr(target)[0]
        return values

    return bootstrap_many(statistics, identity, labels=positive, replicates=REPLICATES, seed=seed)


def contrast_metrics(
    score: Floats, label: NDArray[np.int64], identity: NDArray[np.int64], *, blind: float, seed: int
) -> tuple[dict[str, Metric], dict[str, float]]:
    """AUC, advantage, balanced accuracy, TPR at fixed FPR, and the AUC in excess of the best blind classifier.

    Advantage and balanced accuracy are those of the best threshold on these very scores: an upper edge, not the headline.

    Returns:
        Metrics by name, and the realised FPR of each TPR@FPR.
    """
    found = _bootstrap(score, label, identity, seed)
    metrics = {
        name: Metric.of(found[name].estimate, higher_is_better=False) for name in ("auc", "balanced_accuracy", "advantage")
    }
    curve = roc(score, label == 1)
    realised: dict[str, float] = {}
    for name, target in FPRS.items():
        point = operating_point(curve, target)
        key = f"tpr@fpr={name}"
        if point.fpr is None:
            needed = round(NEGATIVES_PER_TARGET / target)
            note = f"not measurable: {point.n_negative} negatives, {needed} needed"
            metrics[key] = Metric(value=None, n=point.n_negative, higher_is_better=False, note=note)
        else:
            metrics[key] = Metric.of(found[f"tpr@fpr={target}"].estimate, higher_is_better=False)
            realised[key] = point.fpr
    auc = metrics["auc"]
    if auc.value is not None and auc.low is not None and auc.high is not None:
        update = {"value": auc.value - blind, "low": auc.low - blind, "high": auc.high - blind}
        metrics["excess_over_blind"] = auc.model_copy(update={**update, "note": f"blind AUC {blind:.3f}"})
    return metrics, realised


def auc_estimate(score: Floats, label: NDArray[np.int64], identity: NDArray[np.int64], *, seed: int) -> tuple[float, float]:
    """AUC and its standard deviation over resampled people."""
    positive = label == 1
    found = bootstrap_many(
        lambda weights: {"auc": roc(score, positive, weights).auc()}, identity, labels=positive, replicates=400, seed=seed
    )["auc"]
    value = found.estimate.value
    return (0.5 if value is None else value), float(np.nanstd(found.replicates))
