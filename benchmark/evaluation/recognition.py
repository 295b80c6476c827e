"""How well a submission recognises any set of aligned faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmark.data.readers.eye_positions import alignment_warning
from benchmark.data.readers.open import open_faces
from benchmark.interfaces import Access, Photos, SignalRequest
from benchmark.metrics.roc import NEGATIVES_PER_TARGET
from benchmark.metrics.verification import VerificationResult, verification
from benchmark.records.results import Metric
from benchmark.runtime.home import cache_dir
from benchmark.signals.extraction import extract
from benchmark.signals.target import Target
from benchmark.submissions.submission import Submission, load_submission

EMBEDDING = SignalRequest(layers="embedding")
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
    metrics = {}
    for target, estimate in result.tar.items():
        realised = result.realised_far[target]
        needed = round(NEGATIVES_PER_TARGET / target)
        if realised is None:
            note = f"not measurable: {result.different_pairs} different-person pairs, {needed} needed"
        else:
            note = f"realised FAR {realised:.2e}"
        metrics[f"tar@far={target:.0e}".replace("e-0", "e-")] = Metric.of(estimate, higher_is_better=True, note=note)
    metrics["auc"] = Metric.of(result.auc, higher_is_better=True)
    metrics["eer"] = Metric.of(result.eer, higher_is_better=False)
    metrics["d_prime"] = Metric.of(result.d_prime, higher_is_better=True)
    metrics["accuracy_10_fold"] = Metric.of(result.accuracy, higher_is_better=True)
    metrics["rank1"] = Metric.of(result.rank1, higher_is_better=True, note="gallery: the first photo of each person")
    return metrics


def verify_photos(target: Target, photos: Photos, *, seed: int, cache: Path) -> VerificationResult:
    """Verification of a target on photos, embeddings cached."""
    signals = extract(target, photos, (EMBEDDING,), cache=cache)
    return verification(np.asarray(signals[EMBEDDING]), signals.identity, seed=seed, replicates=REPLICATES)


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
        warnings=photos.report.warnings or tuple(filter(None, [alignment_warning(photos)])),
    )
