"""Classifiers that shadows alone have taught: each plays the target in its turn, with the others as its shadows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmark.interfaces import NotApplicableError, QueryShadow

FAR = 30.0  # log-odds beyond which more says nothing more


def require_two(shadows: Sequence[QueryShadow]) -> None:
    """Raises :class:`NotApplicableError` for fewer than two shadows."""
    if len(shadows) < 2:
        raise NotApplicableError("a shadow that plays the target needs another one to be calibrated by.")


def boosting(trees: int, leaves: int) -> HistGradientBoostingClassifier:
    """Boosted trees, for columns some of which are NaN."""
    return HistGradientBoostingClassifier(
        max_iter=trees, learning_rate=0.08, max_leaf_nodes=leaves, l2_regularization=5, early_stopping=False, random_state=0
    )


def fitted(model: Any, columns: np.ndarray, labels: np.ndarray) -> Any:
    """The classifier, fitted to rounded columns (n, F); it is the same for every order of rows."""
    order = np.lexsort((labels, *columns.T))
    return model.fit(columns[order], labels[order])
