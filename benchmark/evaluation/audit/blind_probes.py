"""Blind probes of an audit: can the two sets be told apart without the model?  If so, the model need not have leaked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from benchmark.data.populations import SIDES
from benchmark.evaluation.audit.module import untrained_copy
from benchmark.evaluation.audit.question import Question
from benchmark.evaluation.membership.blind_gate import classifier_scores, estimate, judge, thumbnails
from benchmark.evaluation.membership.pooling import Scores
from benchmark.interfaces import Contrast
from benchmark.records.results import Gate
from benchmark.runtime.memory import out_of_memory
from benchmark.signals.answers import Embedding
from benchmark.signals.extraction import extract
from benchmark.signals.target import Target

EMBEDDING = Embedding()
BATCH = 256


def blind_probes(target: Target, question: Question, seed: int) -> Gate:
    """Linear classifiers on pixels, on how the photos were made, and on an untrained copy of the model, on every contrast.

    Fitted on the people with known membership and judged on the others, as the attacks are.
    """
    features = {
        "linear on pixels": thumbnails(question.photos),
        "linear on the making of the photo": making(question),
    }
    untrained = _untrained_embeddings(target, question, seed)
    if untrained is not None:
        features["linear on an untrained copy of the model"] = untrained
    scores: dict[tuple[str, Contrast], Scores] = {}
    for contrast, reason in question.contrasts.items():
        if reason:
            continue
        for name, values in features.items():
            scores[name, contrast] = classifier_scores(values, question, contrast)  # type: ignore[arg-type]
    return judge({key: estimate(found, seed) for key, found in scores.items()})


def _untrained_embeddings(target: Target, question: Question, seed: int) -> np.ndarray | None:
    """(N, D), or None where the module cannot be drawn anew, or breaks when it is."""
    try:
        values = extract(untrained_copy(target, seed), question.photos, (EMBEDDING,))[EMBEDDING]
    except Exception as error:  # anybody's code may raise anything
        if out_of_memory(error):
            raise
        return None
    return np.asarray(values) if np.isfinite(values).all() else None


def making(question: Question) -> np.ndarray:
    """(N, 17) what a camera, a crop or a codec leaves behind: moments of colours, sharpness, blocks of 8, size as given.

    Photos of two origins differ in these long before anybody looks at a face.
    """
    photos = question.photos
    rows = []
    for start in range(0, len(photos), BATCH):
        index = np.arange(start, min(start + BATCH, len(photos)))
        rows.append(_of_pixels(photos.load(index).float() / 255))
    shapes = np.array([photos.original_shape(i) for i in range(len(photos))], np.float64)
    return np.concatenate([np.concatenate(rows), np.log(shapes), shapes[:, :1] / shapes[:, 1:]], axis=1)


def _of_pixels(images: torch.Tensor) -> np.ndarray:
    grey = images.mean(1)
    across, down = grey.diff(dim=2).abs(), grey.diff(dim=1).abs()
    curved = grey.diff(n=2, dim=2).abs().mean((1, 2)) + grey.diff(n=2, dim=1).abs().mean((1, 2))
    every = torch.arange(across.shape[2], device=images.device)
    blocks = [across[:, :, every % 8 == phase].mean((1, 2)) for phase in (3, 7)]
    columns = [
        images.mean((2, 3)), images.flatten(2).std(2), images.amax((1, 2, 3))[:, None], images.amin((1, 2, 3))[:, None],
        torch.stack([across.mean((1, 2)), down.mean((1, 2)), curved, blocks[1] - blocks[0]], 1),
        (images.amax(1) - images.amin(1)).mean((1, 2))[:, None], (grey > 0.98).float().mean((1, 2))[:, None],
    ]  # fmt: skip
    return torch.cat(columns, 1).double().numpy()


def invalid_contrasts(gate: Gate) -> Mapping[Contrast, str]:
    """Contrasts that can be told without the model, and by what."""
    worst: dict[Contrast, str] = {}
    for probe in sorted(gate.probes, key=lambda p: p.auc.value or 0.5):
        if probe.invalid:
            worst[probe.contrast] = f"{probe.classifier}, AUC {probe.auc.value:.3f}"
    return {contrast: worst[contrast] for contrast in SIDES if contrast in worst}
