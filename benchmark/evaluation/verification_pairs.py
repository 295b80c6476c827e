"""Recognition on the published lists of pairs: lfw.bin, cfp_fp.bin, agedb_30.bin and others of their kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmark.data.readers.pairs import Pairs, load_pairs
from benchmark.interfaces import Access, FaceVeilError
from benchmark.metrics.roc import NEGATIVES_PER_TARGET
from benchmark.metrics.verification import PairsResult, verify_pairs
from benchmark.records.results import Metric
from benchmark.runtime.home import cache_dir
from benchmark.signals.answers import Embedding
from benchmark.signals.extraction import extract
from benchmark.signals.target import Target
from benchmark.submissions.submission import Submission, load_submission

FOLDS = 10
EMBEDDING = Embedding()
MIRRORED = Embedding(view="flip")


@dataclass(frozen=True)
class PairsReport:
    """Figures of one submission on one list of pairs."""

    file: str
    pairs: int
    same: int  # of them pairs that show one person
    skipped: tuple[tuple[str, str], ...]  # photos that cannot be used, whose pairs are left out
    warnings: tuple[str, ...]
    metrics: dict[str, Metric]


def recognise_pairs(
    submission: Path | Submission,
    files: list[Path],
    *,
    flip: bool = False,
    seed: int,
    device: torch.device | str,
    step: Callable[[str], None],
) -> list[PairsReport]:
    """Verification on lists of pairs, each in ten folds in the order of the file, as its publishers count them.

    Args:
        flip: add the embedding of the mirrored photo to that of the photo, as published figures often do.

    Raises:
        FaceVeilError: a file is no list of pairs, or too short for folds.
    """
    loaded = submission if isinstance(submission, Submission) else load_submission(submission)
    target = Target(loaded, Access.EMBEDDING, device)
    reports = []
    for file in files:
        step(f"reading {file.name}")
        pairs = load_pairs(file, cache=cache_dir() / "photos")
        step(f"embedding {len(pairs.images)} photos of {file.name}")
        result = verify_list(target, pairs, flip=flip, seed=seed, cache=cache_dir() / "signals")
        same, report = int(pairs.same.sum()), pairs.report
        metrics = pair_figures(result, len(pairs) - same)
        reports.append(PairsReport(file.stem, len(pairs), same, report.skipped, report.warnings, metrics))
    return reports


def verify_list(target: Target, pairs: Pairs, *, flip: bool, seed: int, cache: Path | None) -> PairsResult:
    """Verification of a target on a list of pairs, embeddings cached."""
    if len(pairs) < 2 * FOLDS:
        raise FaceVeilError(f"{len(pairs)} usable pairs are too few for {FOLDS} folds: a list needs {2 * FOLDS} or more.")
    signals = extract(target, pairs.images, (EMBEDDING, MIRRORED) if flip else (EMBEDDING,), cache=cache)
    embeddings = np.asarray(signals[EMBEDDING])
    if flip:
        embeddings = embeddings + np.asarray(signals[MIRRORED])
    return verify_pairs(embeddings[::2], embeddings[1::2], pairs.same, folds_of(pairs), seed=seed)


def folds_of(pairs: Pairs) -> np.ndarray:
    """(N,) fold of each pair: tenths of the whole list, before unusable pairs were left out."""
    folds: np.ndarray = pairs.number * FOLDS // pairs.listed
    return folds


def pair_figures(result: PairsResult, negatives: int) -> dict[str, Metric]:
    """Every figure of a list of pairs, as a record has them; what is counted and resampled is folds."""
    metrics = {"accuracy_10_fold": Metric.of(result.accuracy, higher_is_better=True, unit="folds")}
    for target, estimate in result.tar.items():
        needed = round(NEGATIVES_PER_TARGET / target)
        note = f"not measurable: {negatives} different-person pairs, {needed} needed" if estimate.value is None else ""
        metrics[f"tar@far={target:.0e}".replace("e-0", "e-")] = Metric.of(
            estimate, higher_is_better=True, unit="folds", note=note
        )
    metrics["auc"] = Metric.of(result.auc, higher_is_better=True, unit="folds")
    metrics["eer"] = Metric.of(result.eer, higher_is_better=False, unit="folds")
    metrics["d_prime"] = Metric.of(result.d_prime, higher_is_better=True, unit="folds")
    return metrics
