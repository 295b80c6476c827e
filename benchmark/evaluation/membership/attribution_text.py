"""What the rows of an attribution say, in sentences with their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.interfaces import Contrast
from benchmark.records.results import AttributionRow, Metric

SAMPLE = Contrast.SAMPLE.value


def read(rows: Sequence[AttributionRow]) -> tuple[str, ...]:
    """One sentence for every attack on seen against unseen photos, one for the order, one for backbones that never saw."""
    sentences = []
    for row in rows:
        if row.question == "statistics" and row.contrast == SAMPLE and row.case == "public statistics":
            first = next(r for r in rows if (r.attack, r.contrast, r.case) == (row.attack, SAMPLE, "trained statistics"))
            sentences.append(_statistics(row, first))
    sentences += _overall(rows, "order", "The last batches show no more than earlier ones", "The last batches show")
    sentences += _overall(
        rows,
        "unrelated_models",
        "Backbones that never saw these people show nothing",
        "Even backbones that never saw them show something",
    )
    return tuple(sentences)


def _statistics(public: AttributionRow, trained: AttributionRow) -> str:
    start = f"{trained.attack}: AUC {_text(trained.auc)} with the trained statistics, {_text(public.auc)} with public ones"
    if not _above_chance(trained.auc):
        return f"{start}: nothing to attribute."
    lost = public.difference
    if lost is None or lost.value is None or lost.low is None or lost.high is None or trained.auc.value is None:
        return f"{start}."
    share = max(0.0, -lost.value) / (trained.auc.value - 0.5)
    most = max(0.0, -lost.low) / (trained.auc.value - 0.5)
    if lost.high < 0:
        return f"{start}: about {share:.0%} of the leak sits in the statistics, the rest in the weights."
    return f"{start}: the weights leak, not the statistics (at most {min(1.0, most):.0%} of it, 95 %)."


def _overall(rows: Sequence[AttributionRow], question: str, nothing: str, something: str) -> list[str]:
    asked = [r for r in rows if r.question == question]
    if not asked:
        return []
    above = sum(_above_chance(r.auc) for r in asked)
    below = sum(r.auc.high is not None and r.auc.high < 0.5 for r in asked)
    farthest = max(asked, key=lambda r: abs((r.auc.value or 0.5) - 0.5))
    verdict = something if above else nothing
    return [
        f"{verdict}: of {len(asked)} intervals {above} lie above 0.5 and {below} below, where chance puts one in twenty; the "
        f"AUC farthest from it is {_text(farthest.auc)} ({farthest.attack}, {farthest.case}, {farthest.contrast})."
    ]


def _above_chance(auc: Metric) -> bool:
    return auc.low is not None and auc.low > 0.5


def _text(metric: Metric) -> str:
    if metric.value is None or metric.low is None or metric.high is None:
        return "not measurable"
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"
