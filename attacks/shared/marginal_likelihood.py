"""Which of a person's photos were trained on, by the marginal likelihood of each subset under two von Mises-Fisher laws.

Around a person's centre the photos inside gather with one concentration, those outside with a lower one.  The centre itself is
integrated out, so that a subset's likelihood has a closed form and no photo votes on its own centre; what is left to learn is
two numbers, which a few people are enough for.  From the posterior come the densities of the regrown head's logits, which
know of the other people's centres; both verdicts together are the score.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize
from scipy.special import ive

from attacks.shared.centres import person_sums
from attacks.shared.densities import BINS, Cells, GridDensities
from attacks.shared.joint_inference import grid_over
from attacks.shared.subsets import Group, Kept, SizePrior, groups, log_total, normalised, photo_odds, size_counts, small

ROUNDS = 4  # of the concentrations
SIZE_ROUNDS = 10  # of the sizes, after each
LEAST = 2.0  # effective dimensions
SHORTEST, LONGEST, KNOTS = 1e-6, 1e9, 1 << 14  # concentrations that the spline spans: those fitted stay below e^12 a photo


def effective_dimension(embeddings: np.ndarray, person: np.ndarray) -> float:
    """In how many directions photos of one person differ: (sum l)^2 / sum l^2 of the eigenvalues of their covariance."""
    residuals = embeddings - (person_sums(embeddings, person) / np.maximum(np.bincount(person), 1)[:, None])[person]
    covariance = residuals.T @ residuals
    return max(LEAST, float(np.trace(covariance) ** 2 / max(np.square(covariance).sum(), 1e-300)))


def log_normaliser(concentration: np.ndarray, dimension: float) -> np.ndarray:
    """log of the von Mises-Fisher density's constant, but for a summand that depends on the dimension alone."""
    order = dimension / 2 - 1
    result: np.ndarray = order * np.log(concentration) - np.log(ive(order, concentration) + 1e-300) - concentration
    return result


class LogNormaliser:
    """:func:`log_normaliser` of one dimension, read off a cubic spline: some million values cost a tenth of Bessel functions.

    The knots are even in the logarithm of the concentration, and the spline is that of what is left without the summand that
    grows with it; the error is below 1e-9.
    """

    def __init__(self, dimension: float) -> None:
        knots = np.linspace(np.log(SHORTEST), np.log(LONGEST), KNOTS)
        concentration = np.exp(knots)
        self._first, self._step = knots[0], knots[1] - knots[0]
        curve = CubicSpline(knots, log_normaliser(concentration, dimension) + concentration)
        self._coefficients = [np.ascontiguousarray(c) for c in curve.c]

    def __call__(self, squares: np.ndarray) -> np.ndarray:
        """Of concentrations given by their squares, ``SHORTEST``^2 to ``LONGEST``^2."""
        place = np.log(squares)
        place *= 0.5
        place -= self._first
        cell = (place / self._step).astype(np.intp)
        np.clip(cell, 0, len(self._coefficients[0]) - 1, out=cell)
        place -= cell * self._step
        value: np.ndarray = self._coefficients[0].take(cell)
        for coefficients in self._coefficients[1:]:
            value *= place
            value += coefficients.take(cell)
        value -= np.sqrt(squares)
        return value


def subset_products(embeddings: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(P, S, 3): |a|^2, a.b and |b|^2 of the sums a and b of the embeddings (P, n, D) inside and outside of each subset."""
    first = inside.astype(np.float64) @ embeddings
    second = embeddings.sum(1)[:, None] - first
    return np.stack([(first * first).sum(-1), (first * second).sum(-1), (second * second).sum(-1)], axis=-1)


def log_marginal(
    products: np.ndarray, sizes: np.ndarray, photos: int, concentrations: tuple[float, float], log_constant: LogNormaliser
) -> np.ndarray:
    """(P, S) log-likelihood of each subset being what is inside, its centre anywhere on the sphere.

    prod_i C(k_i) exp(k_i c.x_i), integrated over c, is prod_i C(k_i) / C(|sum_i k_i x_i|).

    Args:
        products: (P, S, 3), see :func:`subset_products`.
        sizes: (P or 1, S) photos inside, of ``photos``.
        concentrations: inside and outside.
    """
    k_in, k_out = concentrations
    squares = products @ np.array([k_in**2, 2 * k_in * k_out, k_out**2])
    constants = log_constant(np.square([k_in, k_out]))
    result: np.ndarray = sizes * constants[0] + (photos - sizes) * constants[1] - log_constant(np.maximum(squares, SHORTEST**2))
    return result


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
        self._groups = groups(embeddings, person, others, order_by, scale)
        self._dimension = effective_dimension(embeddings, person)
        self._log_constant = LogNormaliser(self._dimension)
        self._products = Kept(lambda: ((g, subset_products(embeddings[g.rows], g.inside)) for g in self._groups), small(person))
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
        for group, likelihood in self._likelihoods():
            by_logits = densities.log_likelihoods(group) + self._prior(group)
            found[group.rows] = photo_odds(group.inside, likelihood) + photo_odds(group.inside, by_logits)
        return found

    def _likelihoods(self, concentrations: tuple[float, float] | None = None) -> Iterator[tuple[Group, np.ndarray]]:
        """Each group with the log-likelihoods (P, S) of its hypotheses, the sizes' prior among them."""
        chosen = concentrations or self._concentrations
        for group, products in self._products:
            yield (
                group,
                log_marginal(products, group.sizes, group.rows.shape[1], chosen, self._log_constant) + self._prior(group),
            )

    def _fit_concentrations(self) -> None:
        """Those under which the photos are most probable, the inner one being the higher."""

        def loss(logs: np.ndarray) -> float:
            outer, ratio = np.exp(np.clip(logs, -10, 12))
            return -sum(float(log_total(part).sum()) for _, part in self._likelihoods((outer * (1 + ratio), outer)))

        inner, outer = self._concentrations
        start = np.log([outer, max(inner / outer - 1, 1e-2)])
        outer, ratio = np.exp(np.clip(minimize(loss, start, method="Nelder-Mead", options={"maxiter": 60}).x, -10, 12))
        self._concentrations = (float(outer * (1 + ratio)), float(outer))

    def _fit_sizes(self) -> None:
        """One round of expectation-maximisation of how many photos a person has inside, one imagined person for each number."""
        counts: dict[int, np.ndarray] = {}
        for group, likelihood in self._likelihoods():
            n = group.rows.shape[1]
            counts[n] = counts.get(n, np.ones(n + 1)) + size_counts(group, normalised(likelihood))
        self._prior.learn(counts)

    def _densities(self) -> GridDensities:
        """Of the regrown head's logits inside and outside, every subset counting as much as it is probable."""
        grid = grid_over(self._groups)
        found = (Cells.of(grid, group).counts(normalised(likelihood), BINS) for group, likelihood in self._likelihoods())
        return GridDensities.of_counts(grid, sum(found, np.zeros((2, BINS))))
