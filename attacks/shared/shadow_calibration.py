"""Per-photo calibration of a score by shadow backbones: LiRA and RMIA, online and offline, down to one shadow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm as gaussian


@dataclass(frozen=True)
class Worlds:
    """What a photo's score would be with the photo inside and outside of the training set: means and deviations, (N,) each.

    ``offline``: no shadow has any photo inside, and the world inside is nothing but the world outside.
    """

    mean_in: np.ndarray
    deviation_in: np.ndarray
    mean_out: np.ndarray
    deviation_out: np.ndarray
    offline: bool = False


def worlds(shadows: np.ndarray, inside: np.ndarray) -> Worlds:
    """The two distributions of each photo's score, from K shadows.

    The means of the photos come from a Gaussian population whose moments are estimated over all photos; each photo's are the
    best linear prediction from its own shadows (with one shadow, mostly the population's; with many, the photo's own mean).
    Deviations are those within photos, pooled over photos as LiRA does for few shadows, plus what is uncertain of the means.

    Args:
        shadows: (K, N) scores; NaN where a shadow says nothing of a photo.
        inside: (K, N) bool.
    """
    known = np.isfinite(shadows)
    mean_in, count_in, noise_in = _means(shadows, inside & known)
    mean_out, count_out, noise_out = _means(shadows, ~inside & known)
    if not count_in.any():
        centre, spread = _population(mean_out, count_out, noise_out)
        predicted, doubt = _predict(mean_out - centre, count_out, noise_out, spread)
        deviation = np.sqrt(noise_out + doubt)
        return Worlds(centre + predicted, deviation, centre + predicted, deviation, offline=True)
    centre_in, spread_in = _population(mean_in, count_in, noise_in)
    centre_out, spread_out = _population(mean_out, count_out, noise_out)
    shared = _covariance(mean_in - centre_in, mean_out - centre_out, count_in, count_out, spread_in, spread_out)
    # Two unknown means, two observed averages with noise: the Gaussian conditional, photo by photo.
    prior = np.array([[spread_in, shared], [shared, spread_out]])
    noise = np.stack([_noise_of_mean(noise_in, count_in), _noise_of_mean(noise_out, count_out)], axis=1)
    observed = np.stack([np.where(count_in, mean_in - centre_in, 0), np.where(count_out, mean_out - centre_out, 0)], axis=1)
    total = prior[None] + np.eye(2) * noise[:, None]
    gain = prior[None] @ np.linalg.inv(total)
    mean = (gain @ observed[:, :, None])[:, :, 0]
    doubt = np.maximum(np.einsum("nii->ni", prior[None] - gain @ prior[None]), 0)
    return Worlds(
        centre_in + mean[:, 0], np.sqrt(noise_in + doubt[:, 0]), centre_out + mean[:, 1], np.sqrt(noise_out + doubt[:, 1])
    )


_FAR = 1e12  # noise of an average over no shadow


def _noise_of_mean(noise: float, count: np.ndarray) -> np.ndarray:
    return np.where(count > 0, noise / np.maximum(count, 1), _FAR)


def _means(shadows: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Each photo's mean over the shadows of ``mask``, how many there are, and the pooled variance within photos."""
    count = mask.sum(0)
    values = np.where(mask, shadows, 0.0)
    mean = values.sum(0) / np.maximum(count, 1)
    freedom = np.maximum(count - 1, 0).sum()
    if freedom > 0:
        noise = float(np.square(np.where(mask, shadows - mean, 0.0)).sum() / freedom)
    else:  # one shadow a photo: half of what differs between photos is taken for noise
        noise = float(np.var(mean[count > 0])) / 2 if count.any() else 1.0
    return mean, count, max(noise, 1e-12)


def _population(mean: np.ndarray, count: np.ndarray, noise: float) -> tuple[float, float]:
    """Mean and variance of the photos' true means."""
    seen = count > 0
    spread = np.var(mean[seen]) - noise * np.mean(1 / count[seen])
    return float(mean[seen].mean()), float(max(spread, 1e-6 * noise))


def _covariance(
    a: np.ndarray, b: np.ndarray, count_a: np.ndarray, count_b: np.ndarray, spread_a: float, spread_b: float
) -> float:
    """Covariance of the two true means, over photos that have both; where none has, they are taken to go together."""
    both = (count_a > 0) & (count_b > 0)
    limit = 0.98 * np.sqrt(spread_a * spread_b)
    if both.sum() < 10:
        return float(0.9 * limit)
    return float(np.clip(np.mean(a[both] * b[both]), -limit, limit))


def _predict(observed: np.ndarray, count: np.ndarray, noise: float, spread: float) -> tuple[np.ndarray, np.ndarray]:
    gain = spread / (spread + _noise_of_mean(noise, count))
    return gain * np.where(count > 0, observed, 0), spread * (1 - gain)


def lira(target: np.ndarray, shadows: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Likelihood ratio of each photo's score inside against outside (arXiv 2112.03570, equations 2 to 4), (N,).

    Offline, where no shadow has anything inside: the score's distance from the world outside, in deviations.
    """
    w = worlds(shadows, inside)
    if w.offline:
        return (target - w.mean_out) / w.deviation_out
    return gaussian.logpdf(target, w.mean_in, w.deviation_in) - gaussian.logpdf(target, w.mean_out, w.deviation_out)


def rmia(
    target: np.ndarray, shadows: np.ndarray, inside: np.ndarray, *, temperature: float = 1.0, offline_a: float = 0.3
) -> np.ndarray:
    """Share of other photos z over whose ratio p(z)/p̄(z) the photo's ratio p(x)/p̄(x) lies (arXiv 2312.03262, equation 4), (N,).

    p is exp(score / temperature), p̄ its mean over the worlds with and without the photo.  Offline
    p̄ = ((1 + a) p_out + 1 - a) / 2, with p in units of the median p_out, since exp of a score is no probability.
    """
    known = np.isfinite(shadows)
    scaled, log_target = shadows / temperature, target / temperature
    log_out = _log_mean(scaled, ~inside & known)
    if (inside & known).any():
        log_in = _log_mean(scaled, inside & known)
        log_in = np.where(np.isfinite(log_in), log_in, log_out)
        log_out = np.where(np.isfinite(log_out), log_out, log_in)
        log_mean = np.logaddexp(log_in, log_out) - np.log(2)
    else:
        middle = np.median(log_out[np.isfinite(log_out)])
        log_mean = np.logaddexp(np.log(1 + offline_a) + log_out - middle, np.log(1 - offline_a)) - np.log(2) + middle
    ratio = np.round(log_target - log_mean, 9)  # what differs by rounding alone is a tie
    order = np.sort(ratio)
    below = np.searchsorted(order, ratio, side="left")
    return below / max(1, len(ratio) - 1)


def _log_mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """log of the mean of exp over the shadows of ``mask``, (N,); -inf where there is none."""
    count = mask.sum(0)
    total = logsumexp(np.where(mask, values, -np.inf), axis=0)
    with np.errstate(divide="ignore"):
        return np.where(count > 0, total - np.log(np.maximum(count, 1)), -np.inf)
