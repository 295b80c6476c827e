"""Class centres fitted by the margin loss of training, to the embeddings of a gallery.

The weights of a trained class are no mean of its photos: hard photos count for more, and photos of other people that come
too close push back.  Fitting a head to frozen embeddings by the same loss finds such weights, if the photos are those that
were trained on.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.shared.centres import Posterior, log_mean_others, person_sums, regrow_weighted, unit, weigh
from benchmark.models.heads import arcface

FOLDS = 8
STEPS = 30
RATE = 0.02
MARGIN = 0.5


def regrow_fitted(embeddings: np.ndarray, person: np.ndarray, scale: float, *, sharpness: float = 0.2) -> Posterior:
    """Every photo under centres that were fitted without it; photos weigh in the loss as much as they look trained on.

    The photos of each person are dealt to ``FOLDS`` folds, and the head is fitted once for each fold, to the others.

    Args:
        embeddings: (N, D), of length 1.
        person: (N,) int, 0..P-1, each with at least two photos.
    """
    guess = regrow_weighted(embeddings, person, scale, sharpness=sharpness).log_odds
    weights = weigh(guess, person, sharpness)
    fold = places(person, guess) % FOLDS
    own, others = np.empty(len(person)), np.empty(len(person))
    for number in range(int(fold.max()) + 1):
        asked, kept = np.flatnonzero(fold == number), fold != number
        centres = fit_centres(embeddings[kept], person[kept], weights[kept], scale)
        own[asked] = scale * (embeddings[asked] * centres[person[asked]]).sum(1)
        others[asked] = log_mean_others(embeddings[asked], person[asked], centres, scale)
    return Posterior(own, others)


def places(person: np.ndarray, rising: np.ndarray) -> np.ndarray:
    """(N,) 0 for the photo of a person with the lowest of ``rising`` (N,), 1 for the next, and so on, in whatever order."""
    order = np.lexsort((rising, person))
    starts = np.concatenate([[0], np.cumsum(np.bincount(person))])
    found = np.empty(len(person), np.int64)
    found[order] = np.arange(len(person)) - starts[person[order]]
    return found


def fit_centres(embeddings: np.ndarray, person: np.ndarray, weights: np.ndarray, scale: float) -> np.ndarray:
    """Class centres (P, D) of length 1 that minimise the weighted margin loss over all photos at once, from the means on."""
    photos, classes = torch.from_numpy(embeddings).double(), torch.from_numpy(person)
    shares = torch.from_numpy(weights / weights.sum()).double()
    centres = torch.from_numpy(unit(person_sums(embeddings * weights[:, None], person))).double().requires_grad_(True)
    descent = torch.optim.Adam([centres], lr=RATE)
    with torch.enable_grad():
        for _ in range(STEPS):
            descent.zero_grad()
            (shares * margin_losses(photos @ F.normalize(centres).T, classes, scale)).sum().backward()
            descent.step()
    return unit(centres.detach().numpy())


def margin_losses(cosines: Tensor, classes: Tensor, scale: float) -> Tensor:
    """ArcFace's losses (N,) of cosines (N, P) with classes (N,)."""
    rows = torch.arange(len(classes))
    return F.cross_entropy(
        scale * cosines.index_put((rows, classes), arcface(cosines[rows, classes], MARGIN)), classes, reduction="none"
    )
