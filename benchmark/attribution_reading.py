"""What the rows of an attribution say, in sentences with their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.interfaces import Contrast
from benchmark.record import AttributionRow, Metric

SAMPLE = Contrast.SAMPLE.value


def read(rows: Sequence[AttributionRow]) -> tuple[str, ...]:
    """One sentence for every attack on seen against unseen photos, one for the order, one for backbones that never saw."""
    sentences = []
    for row in rows:
        if row.question == "statistics" and row.contrast == SAMPLE and row.case == "public statistics":
            first = next(r for r in rows if (r.attack, r.contrast, r.case) == (row.attack, SAMPLE, "trained statistics"))
            sentences.append(_statistics(row, first))
    sentences += _overall(rows, "order", "photos of the last batches cannot be told from earlier ones", "the last batches show")
    sentences += _overall(
        rows,
        "never_saw",
        "backbones that never saw these people show nothing",
        "even backbones that never saw them show something",
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
    loud = [r for r in asked if _above_chance(r.auc)]
    worst = max(asked, key=lambda r: r.auc.value or 0.0)
    largest = f"the largest AUC of {len(asked)} is {_text(worst.auc)} ({worst.attack}, {worst.case}, {worst.contrast})"
    expected = "of which one in forty would be by chance"
    verdict = f"{something}: {len(loud)} of {len(asked)} intervals lie above 0.5, {expected}" if loud else nothing
    return [f"{verdict[0].upper()}{verdict[1:]}; {largest}."]


def _above_chance(auc: Metric) -> bool:
    return auc.low is not None and auc.low > 0.5


def _text(metric: Metric) -> str:
    if metric.value is None or metric.low is None or metric.high is None:
        return "not measurable"
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"
