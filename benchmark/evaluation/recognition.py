"""How well a submission recognises any set of aligned faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmark.data.readers.eye_positions import warnings_of
from benchmark.data.readers.open import open_faces
from benchmark.interfaces import Access, Photos
from benchmark.metrics.intervals import Estimate, mean_over_targets
from benchmark.metrics.roc import NEGATIVES_PER_TARGET
from benchmark.metrics.verification import HEADLINE, VerificationResult, verification
from benchmark.records.results import Metric
from benchmark.runtime.home import cache_dir
from benchmark.signals.answers import Embedding
from benchmark.signals.extraction import Reading, extract, extract_many
from benchmark.signals.target import Target
from benchmark.submissions.submission import Submission, load_submission

EMBEDDING = Embedding()
REPLICATES = 200


@dataclass(frozen=True)
class RecognitionReport:
    """Figures of one submission on one set of faces."""

    people: int
    photos: int
    skipped: tuple[tuple[str, str], ...]
    metrics: dict[str, Metric]
    note: str = ""  # who was taken for people
    treated: Mapping[str, int] = field(default_factory=dict)  # what was done to photos of another size, and to how many
    warnings: tuple[str, ...] = ()


def utility_metrics(result: VerificationResult) -> dict[str, Metric]:
    """Every figure of a verification result, as it stands in a record."""
    return mean_utility([result], seed=0)[0]


def mean_utility(results: Sequence[VerificationResult], *, seed: int) -> tuple[dict[str, Metric], np.ndarray]:
    """Every figure as its mean over the targets of an entry, with an interval over people and targets.

    Returns:
        Metrics by name, and the replicates (R,) of TAR@FAR=1e-3.
    """
    metrics = {}
    for rate in results[0].tar:
        found = mean_over_targets([r.tar[rate] for r in results], [r.replicates_of[rate] for r in results], seed=seed)
        realised = [r.realised_far[rate] for r in results]
        needed = round(NEGATIVES_PER_TARGET / rate)
        if found.estimate.value is None:
            pairs = min(r.different_pairs for r in results)
            note = f"not measurable: {pairs} different-person pairs, {needed} needed"
        else:
            note = f"realised FAR {np.mean([far for far in realised if far is not None]):.2e}"
        metrics[tar_metric(rate)] = _metric(found.estimate, len(results), higher_is_better=True, note=note)
    for name, key, up, note in _OTHERS:
        own = [getattr(r, key) for r in results]
        found = mean_over_targets(own, [r.replicates_of[key] for r in results], seed=seed)
        metrics[name] = _metric(found.estimate, len(results), higher_is_better=up, note=note)
    headline = mean_over_targets([r.tar[HEADLINE] for r in results], [r.replicates for r in results], seed=seed)
    return metrics, headline.replicates


_OTHERS = (
    ("auc", "auc", True, ""),
    ("eer", "eer", False, ""),
    ("d_prime", "d_prime", True, ""),
    ("accuracy_10_fold", "accuracy", True, ""),
    ("rank1", "rank1", True, "gallery: the first photo of each person"),
)


def tar_metric(rate: float) -> str:
    """The name of TAR at a false accept rate: ``tar@far=1e-3``."""
    return f"tar@far={rate:.0e}".replace("e-0", "e-")


def _metric(estimate: Estimate, targets: int, *, higher_is_better: bool, note: str) -> Metric:
    metric = Metric.of(estimate, higher_is_better=higher_is_better, note=note)
    if targets == 1 or metric.value is None:
        return metric
    return metric.model_copy(update={"method": f"{metric.method}, mean over {targets} targets, people and targets resampled"})


def verify_photos(target: Target, photos: Photos, *, seed: int, cache: Path) -> VerificationResult:
    """Verification of a target on photos, embeddings cached."""
    signals = extract(target, photos, (EMBEDDING,), cache=cache)
    return verification(np.asarray(signals[EMBEDDING]), signals.identity, seed=seed, replicates=REPLICATES)


def embed_all(targets: Sequence[Target], photos: Photos, *, cache: Path) -> None:
    """Embeddings of several targets, into the cache: the photos are read once for all of them."""
    extract_many([Reading(target, (EMBEDDING,)) for target in targets], photos, cache=cache)


def recognise(
    submission: Path | Submission, data: Path, *, seed: int, device: torch.device | str, step: Callable[[str], None]
) -> RecognitionReport:
    """Verification and identification on the faces at ``data``, all pairs."""
    step("reading photos")
    loaded = submission if isinstance(submission, Submission) else load_submission(submission)
    photos = open_faces(data, cache=cache_dir() / "photos")
    step(f"embedding {len(photos)} photos")
    target = Target(loaded, Access.EMBEDDING, device)
    result = verify_photos(target, photos, seed=seed, cache=cache_dir() / "signals")
    return RecognitionReport(
        people=photos.report.people,
        photos=len(photos),
        skipped=photos.report.skipped,
        metrics=utility_metrics(result),
        note=photos.report.note,
        treated=photos.report.treated,
        warnings=warnings_of(photos),
    )
