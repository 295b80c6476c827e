"""Which of a person's photos were trained on, by the marginal likelihood of each subset under two von Mises-Fisher laws.

Around a person's centre the photos inside gather with one concentration, those outside with a lower one.  The centre itself is
integrated out, so that a subset's likelihood has a closed form and no photo votes on its own centre; what is left to learn is
two numbers, which a few people are enough for.  From the posterior come the densities of the regrown head's logits, which
know of the other people's centres; both verdicts together are the score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.optimize import minimize
from scipy.special import ive, logsumexp

from attacks.shared.centres import person_sums
from attacks.shared.joint_inference import (
    Densities,
    Group,
    SizePrior,
    densities_of,
    grid_over,
    groups,
    log_likelihoods,
    normalised,
    photo_odds,
    side_counts,
    size_counts,
)

ROUNDS = 4  # of the concentrations
SIZE_ROUNDS = 10  # of the sizes, after each
LEAST = 2.0  # effective dimensions


def effective_dimension(embeddings: np.ndarray, person: np.ndarray) -> float:
    """In how many directions photos of one person differ: (sum l)^2 / sum l^2 of the eigenvalues of their covariance."""
    residuals = embeddings - (person_sums(embeddings, person) / np.maximum(np.bincount(person), 1)[:, None])[person]
    covariance = residuals.T @ residuals
    return max(LEAST, float(np.trace(covariance) ** 2 / max(np.square(covariance).sum(), 1e-300)))


def log_normaliser(concentration: np.ndarray, dimension: float) -> np.ndarray:
    """log of the von Mises-Fisher density's constant, but for a summand that depends on the dimension alone."""
    order = dimension / 2 - 1
    return order * np.log(concentration) - np.log(ive(order, concentration) + 1e-300) - concentration


def subset_products(embeddings: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(P, S, 3): |a|^2, a.b and |b|^2 of the sums a and b of the embeddings (P, n, D) inside and outside of each subset."""
    first = inside.astype(np.float64) @ embeddings
    second = embeddings.sum(1)[:, None] - first
    return np.stack([(first * first).sum(-1), (first * second).sum(-1), (second * second).sum(-1)], axis=-1)


def log_marginal(products: np.ndarray, inside: np.ndarray, concentrations: tuple[float, float], dimension: float) -> np.ndarray:
    """(P, S) log-likelihood of each subset being what is inside, its centre anywhere on the sphere.

    prod_i C(k_i) exp(k_i c.x_i), integrated over c, is prod_i C(k_i) / C(|sum_i k_i x_i|).

    Args:
        concentrations: inside and outside.
    """
    k_in, k_out = concentrations
    length = np.sqrt(np.maximum(products @ np.array([k_in**2, 2 * k_in * k_out, k_out**2]), 1e-12))
    within = inside.sum(2)
    constants = log_normaliser(np.array([k_in, k_out]), dimension)
    return within * constants[0] + (inside.shape[2] - within) * constants[1] - log_normaliser(length, dimension)


class MarginalInference:
    """Log-odds of every photo being inside.  Nothing is known but which photos show the same person.

    Args: as those of :class:`~attacks.shared.joint_inference.JointInference`; ``order_by`` (N,) logits of an earlier guess,
        which choose the subsets that are tried where a person has many photos.
    """

    def __init__(
        self,
        embeddings: np.ndarray,
        person: np.ndarray,
        others: np.ndarray,
        order_by: np.ndarray,
        scale: float,
        learn_sizes: bool,
    ) -> None:
        self._groups: Callable[[], Iterator[Group]] = lambda: groups(embeddings, person, others, order_by, scale)
        self._dimension = effective_dimension(embeddings, person)
        self._products = [subset_products(embeddings[g.rows], g.inside) for g in self._groups()]
        self._inside = [g.inside for g in self._groups()]
        self._prior = SizePrior(learn_sizes)
        self._concentrations = (2 * self._dimension, self._dimension / 2)
        self._count = len(embeddings)

    def log_odds(self) -> np.ndarray:
        """(N,) log P(inside) - log P(outside) by the subsets' likelihoods, plus the same by the logits' densities."""
        for _ in range(ROUNDS):
            self._fit_concentrations()
            for _ in range(SIZE_ROUNDS):
                self._fit_sizes()
        densities = self._densities()
        found = np.empty(self._count)
        for group, likelihood in zip(self._groups(), self._likelihoods(), strict=True):
            by_logits = log_likelihoods(group, densities) + self._prior(group.inside)
            found[group.rows] = photo_odds(group.inside, likelihood) + photo_odds(group.inside, by_logits)
        return found

    def _likelihoods(self, concentrations: tuple[float, float] | None = None) -> Iterator[np.ndarray]:
        """(P, S) log-likelihoods with the sizes' prior, group by group."""
        chosen = concentrations or self._concentrations
        for products, inside in zip(self._products, self._inside, strict=True):
            yield log_marginal(products, inside, chosen, self._dimension) + self._prior(inside)

    def _fit_concentrations(self) -> None:
        """Those under which the photos are most probable, the inner one being the higher."""

        def loss(logs: np.ndarray) -> float:
            outer, ratio = np.exp(np.clip(logs, -10, 12))
            return -sum(float(logsumexp(part, axis=1).sum()) for part in self._likelihoods((outer * (1 + ratio), outer)))

        inner, outer = self._concentrations
        start = np.log([outer, max(inner / outer - 1, 1e-2)])
        outer, ratio = np.exp(np.clip(minimize(loss, start, method="Nelder-Mead", options={"maxiter": 60}).x, -10, 12))
        self._concentrations = (float(outer * (1 + ratio)), float(outer))

    def _fit_sizes(self) -> None:
        """One round of expectation-maximisation of how many photos a person has inside, one imagined person for each number."""
        counts: dict[int, np.ndarray] = {}
        for likelihood, inside in zip(self._likelihoods(), self._inside, strict=True):
            n = inside.shape[2]
            counts[n] = counts.get(n, np.ones(n + 1)) + size_counts(inside, normalised(likelihood))
        self._prior.learn(counts)

    def _densities(self) -> Densities:
        """Of the regrown head's logits inside and outside, every subset counting as much as it is probable."""
        grid = grid_over(self._groups())
        found = zip(self._groups(), self._likelihoods(), strict=True)
        return densities_of(grid, sum(side_counts(grid, group, normalised(likelihood)) for group, likelihood in found))
