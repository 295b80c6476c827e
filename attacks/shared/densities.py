"""Densities of the regrown head's logits, of photos inside the training set and outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.ndimage import gaussian_filter1d

from attacks.shared.subsets import Group

BINS = 400
SMOOTHING = 0.5  # deviation of the kernel, in units of the logit
FLOOR = 0.02  # share of a uniform density, so that no photo rules a subset out alone


class Densities(Protocol):
    """One density inside, one outside."""

    def log_likelihoods(self, group: Group) -> np.ndarray:
        """(P, S) of each hypothesis, photos taken as independent given it."""
        ...


@dataclass(frozen=True)
class Cells:
    """Where the logits of a group lie on a grid: all that densities on that grid need, whatever their values.

    ``lower`` and ``share`` (P, S, n) place a logit between two points; ``nearest`` is its cell in a histogram.  Positions
    count through both sides' tables, (2 * BINS,), outside first, by the side that the hypothesis puts the photo on.
    """

    lower: np.ndarray
    share: np.ndarray
    nearest: np.ndarray

    @staticmethod
    def of(grid: np.ndarray, group: Group) -> Cells:
        place = (group.logits - grid[0]) / (grid[1] - grid[0])
        side = len(grid) * group.inside.astype(np.intp)
        lower = np.clip(place.astype(np.intp), 0, len(grid) - 2)
        nearest = np.clip(np.rint(place).astype(np.intp), 0, len(grid) - 1)
        return Cells(lower + side, np.clip(place - lower, 0, 1), nearest + side)

    def log_likelihoods(self, log: np.ndarray) -> np.ndarray:
        """(P, S) under log-densities (2, BINS) on the grid, outside and inside."""
        rise = np.diff(log, axis=1, append=log[:, -1:])
        found = rise.ravel().take(self.lower)
        found *= self.share
        found += log.ravel().take(self.lower)
        result: np.ndarray = found.sum(2)
        return result

    def counts(self, posterior: np.ndarray, bins: int) -> np.ndarray:
        """(2, BINS) logits outside and inside, every hypothesis (P, S) counting as much as it is probable."""
        weights = np.repeat(posterior.ravel(), self.nearest.shape[2])
        return np.bincount(self.nearest.ravel(), weights, 2 * bins).reshape(2, bins)


@dataclass(frozen=True)
class GridDensities:
    """Log-densities (2, BINS) at the points of a grid, outside and inside; straight lines between."""

    grid: np.ndarray
    log: np.ndarray

    @staticmethod
    def of_counts(grid: np.ndarray, counts: np.ndarray) -> GridDensities:
        """From histograms (2, BINS) over the cells of ``grid``, smoothed."""
        step = grid[1] - grid[0]
        smooth = gaussian_filter1d(counts, SMOOTHING / step, axis=1, mode="nearest")
        share = smooth / np.maximum(smooth.sum(1, keepdims=True), 1e-12) / step
        return GridDensities(grid, np.log((1 - FLOOR) * share + FLOOR / (grid[-1] - grid[0])))

    @staticmethod
    def of_logits(grid: np.ndarray, logits: np.ndarray, inside: np.ndarray) -> GridDensities:
        """From photos (N,) whose side is known, or guessed."""
        cell = np.clip(np.rint((logits - grid[0]) / (grid[1] - grid[0])).astype(np.intp), 0, len(grid) - 1)
        counts = np.stack([np.bincount(cell[side], minlength=len(grid)) for side in (~inside, inside)])
        return GridDensities.of_counts(grid, counts.astype(np.float64))

    def log_likelihoods(self, group: Group) -> np.ndarray:
        return Cells.of(self.grid, group).log_likelihoods(self.log)


@dataclass(frozen=True)
class GaussianDensities:
    """A pair of Gaussians for each photo: means and deviations (N,), inside and outside; ``floor`` is a density besides."""

    means: tuple[np.ndarray, np.ndarray]
    deviations: tuple[np.ndarray, np.ndarray]
    floor: float = 0.0

    def log_likelihoods(self, group: Group) -> np.ndarray:
        def of_side(values: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
            inside, outside = (v[group.rows][:, None] for v in values)
            result: np.ndarray = np.where(group.inside, inside, outside)
            return result

        deviation = of_side(self.deviations)
        distance = (group.logits - of_side(self.means)) / deviation
        log: np.ndarray = -(0.5 * distance * distance + np.log(deviation) + 0.5 * np.log(2 * np.pi))
        if self.floor:
            log = np.logaddexp(log, np.log(self.floor))
        result: np.ndarray = log.sum(2)
        return result


def fitted_densities(logits: np.ndarray, inside: np.ndarray) -> Densities:
    """Densities inside and outside from photos whose side is known (NaN logits are left out)."""
    finite = np.isfinite(logits)
    logits, inside = logits[finite], inside[finite]
    return GridDensities.of_logits(np.linspace(logits.min() - 10, logits.max() + 10, BINS), logits, inside)


def gaussian_densities(means: tuple[np.ndarray, np.ndarray], deviations: tuple[np.ndarray, np.ndarray]) -> Densities:
    """One pair of Gaussians for each photo: means and deviations (N,) inside and outside, from shadow backbones."""
    return GaussianDensities(means, deviations)


def guessed_densities(logits: np.ndarray, inside: np.ndarray) -> Densities:
    """One Gaussian inside and one outside for all photos (N,), from a guess of their sides (NaN logits are left out).

    A guess is wrong about some photos, and two numbers a side are what it can be trusted with.
    """
    finite = np.isfinite(logits)
    span = float(np.ptp(logits[finite])) if finite.any() else 0.0

    def moments(side: bool) -> tuple[float, float]:
        values = logits[finite & (inside == side)]
        mean, deviation = (float(values.mean()), float(values.std())) if len(values) else (0.0, 0.0)
        return mean, max(deviation, 1e-3 * span, 1e-6)

    (mean_in, deviation_in), (mean_out, deviation_out) = moments(True), moments(False)
    alike = np.ones(len(logits))
    return GaussianDensities(
        (mean_in * alike, mean_out * alike), (deviation_in * alike, deviation_out * alike), FLOOR / max(span, 1.0)
    )
