"""What shadow backbones asked about the target's photos say of them, one row a shadow."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from benchmark.interfaces import QueryShadow, Signals


def scores_of(shadows: Sequence[QueryShadow], key: Hashable, of: Callable[[Signals], np.ndarray]) -> np.ndarray:
    """(K, N, ...) values of each shadow, computed on its own photos; NaN where it says nothing of a photo.

    Args:
        of: maps signals of M photos to values (M, ...); ``key`` names it with its settings.
    """
    return np.stack([s.aligned(s.signals.remembered(key, of)) for s in shadows])


def inside_of(shadows: Sequence[QueryShadow]) -> np.ndarray:
    """(K, N) bool: which photos (or whose people) each shadow trained on; False where it says nothing."""
    return np.stack([s.aligned_inside for s in shadows])


def of_people(shadows: Sequence[QueryShadow]) -> bool:
    """Whether each shadow holds a person with all of the photos or with none: the question is about people, not photos."""
    return all(_whole(s) for s in shadows)


def _whole(shadow: QueryShadow) -> bool:
    person = np.unique(shadow.signals.identity, return_inverse=True)[1]
    share = np.bincount(person, shadow.inside) / np.bincount(person)
    return bool(np.isin(share, (0, 1)).all())


def spread_over_people(values: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """(K, N) values that are the same for all photos of a person (N,), given to those of which the shadow says nothing, too."""
    person = np.unique(identity, return_inverse=True)[1]
    known = np.isfinite(values)
    count = np.stack([np.bincount(person, row) for row in known])
    total = np.stack([np.bincount(person, row) for row in np.where(known, values, 0.0)])
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)[:, person]
