"""Photos of procedural people that only the holder of a round's secret can draw.

Data and split of a synthetic track follow from public seeds, so whoever trains weights elsewhere could train on everybody the
evaluation asks about: on held-out people, on the unseen photos of members, on the people of verification.  In a round these
are drawn from the same distribution by the evaluator's secret.  The photos that backbone 0 trains on, public and auxiliary
people and judges stay as they are: submitters need them.
"""

from __future__ import annotations

import numpy as np

from benchmark.data.memberships import draw
from benchmark.data.splits import Split
from benchmark.runtime.secret import number_of


class SecretPhotos:
    """Says what is drawn for a photo of a split.

    Args:
        secret: of the round.
        split: of the track, by public numbers of people and photos; they still name the photos.
        seed: the track's split seed, from which it follows what backbone 0 trains on.
    """

    def __init__(self, secret: bytes, split: Split, seed: int) -> None:
        canonical = draw(split.pool[:, 0], seed, 0)
        strangers = np.concatenate([split.pool[~canonical.person], split.verification])
        unseen = split.pool[canonical.person & ~canonical.photo]
        self._drawn = {(i, p): (i, number_of(secret, "photo", i, p)) for i, p in unseen.tolist()}
        for i, p in strangers.tolist():
            self._drawn[i, p] = (number_of(secret, "person", i), number_of(secret, "photo", i, p))

    def __call__(self, pairs: np.ndarray) -> np.ndarray:
        """(N, 2) person and photo to draw for each of ``pairs`` (N, 2)."""
        rows = [self._drawn.get((i, p), (i, p)) for i, p in pairs.tolist()]
        return np.array(rows, np.int64).reshape(-1, 2)
