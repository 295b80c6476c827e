"""Helpers of attacks that learn by a small network: one recipe, so that attacks differ by what they look at."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

FLOOR = 1e-300  # of a probability, before its logarithm


def network(hidden: Sequence[int], decay: float, seed: int = 0, epochs: int = 40) -> Pipeline:
    """Standardised features into a multilayer perceptron with ReLU, trained by Adam for ``epochs``; ``decay`` is its L2."""
    perceptron = MLPClassifier(
        tuple(hidden), alpha=decay, random_state=seed, max_iter=epochs, batch_size=64, n_iter_no_change=epochs, tol=0.0
    )
    return make_pipeline(StandardScaler(), perceptron)


def fit_quietly(pipeline: Pipeline, features: np.ndarray, labels: np.ndarray) -> None:
    """Fits a network; that the epochs end before convergence, or that all photos make one batch, is said nothing about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Got `batch_size` less than 1 or larger than sample size")
        pipeline.fit(features, labels)


def log_odds(fitted: Pipeline, features: np.ndarray) -> np.ndarray:
    """(N,) log-odds of membership."""
    log = np.log(np.maximum(fitted.predict_proba(features), FLOOR))
    result: np.ndarray = log[:, 1] - log[:, 0]
    return result
