"""Per-photo calibration of a score by shadow backbones: LiRA, RMIA and BaVarIA, online and offline, down to one
shadow.

Shadows may weigh differently for every photo (``weights``): those that agree with what is known of the target count more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, logsumexp, polygamma
from scipy.stats import norm as gaussian
from scipy.stats import t as student
from scipy.stats.distributions import rv_frozen


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


def worlds(shadows: np.ndarray, inside: np.ndarray, weights: np.ndarray | None = None) -> Worlds:
    """The two distributions of each photo's score, from K shadows.

    The means of the photos come from a Gaussian population whose moments are estimated over all photos; each photo's are the
    best linear prediction from its own shadows (with one shadow, mostly the population's; with many, the photo's own mean).
    Deviations are those within photos, pooled over photos as LiRA does for few shadows, plus what is uncertain of the means.

    Args:
        shadows: (K, N) scores; NaN where a shadow says nothing of a photo.
        inside: (K, N) bool.
        weights: (K, N) of the shadows, photo by photo; default all 1.  A photo counts as many shadows as its weights amount to.
    """
    known = np.isfinite(shadows)
    mean_in, count_in, noise_in = _means(shadows, inside & known, weights)
    mean_out, count_out, noise_out = _means(shadows, ~inside & known, weights)
    if not count_in.any():
        centre, spread = _population(mean_out, count_out, noise_out)
        predicted, doubt = _predict(mean_out - centre, count_out, noise_out, spread)
        deviation = np.sqrt(noise_out + doubt)
        return Worlds(centre + predicted, deviation, centre + predicted, deviation, offline=True)
    centre_in, spread_in = _population(mean_in, count_in, noise_in)
    centre_out, spread_out = _population(mean_out, count_out, noise_out)
    shared = _covariance(mean_in - centre_in, mean_out - centre_out, count_in, count_out, spread_in, spread_out)
    # Two unknown means, two observed averages with noise: the Gaussian conditional, photo by photo, in closed form.
    far_in, far_out = _noise_of_mean(noise_in, count_in), _noise_of_mean(noise_out, count_out)
    observed_in = np.where(count_in, mean_in - centre_in, 0)
    observed_out = np.where(count_out, mean_out - centre_out, 0)
    independent = spread_in * spread_out - shared**2
    determinant = independent + spread_in * far_out + spread_out * far_in + far_in * far_out
    gain_in, gain_out = (independent + spread_in * far_out) / determinant, (independent + spread_out * far_in) / determinant
    across_in, across_out = shared * far_in / determinant, shared * far_out / determinant
    return Worlds(
        centre_in + gain_in * observed_in + across_in * observed_out,
        np.sqrt(noise_in + gain_in * far_in),
        centre_out + across_out * observed_in + gain_out * observed_out,
        np.sqrt(noise_out + gain_out * far_out),
    )


_FAR = 1e12  # noise of an average over no shadow


def _noise_of_mean(noise: float, count: np.ndarray) -> np.ndarray:
    return np.where(count > 0, noise / np.maximum(count, 1e-9), _FAR)


def _means(shadows: np.ndarray, mask: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, float]:
    """Each photo's mean over the shadows of ``mask``, how many there are, and the pooled variance within photos.

    With weights the number is the effective one, (sum w)^2 / sum w^2, and the variance that of weighted samples.
    """
    weight = mask.astype(np.float64) if weights is None else np.where(mask, weights, 0.0)
    total, squares = weight.sum(0), np.square(weight).sum(0)
    count = np.square(total) / np.where(squares > 0, squares, 1)
    values = np.where(mask, shadows, 0.0)
    mean = (weight * values).sum(0) / np.where(total > 0, total, 1)
    freedom = (total - squares / np.where(total > 0, total, 1)).sum()
    if freedom > 1e-9:
        noise = float((weight * np.square(np.where(mask, shadows - mean, 0.0))).sum() / freedom)
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


def lira(target: np.ndarray, shadows: np.ndarray, inside: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Likelihood ratio of each photo's score inside against outside (arXiv 2112.03570, equations 2 to 4), (N,).

    Offline, where no shadow has anything inside: the score's distance from the world outside, in deviations.
    """
    w = worlds(shadows, inside, weights)
    if w.offline:
        distance: np.ndarray = (target - w.mean_out) / w.deviation_out
        return distance
    log_in, log_out = gaussian.logpdf(target, w.mean_in, w.deviation_in), gaussian.logpdf(target, w.mean_out, w.deviation_out)
    ratio: np.ndarray = log_in - log_out
    return ratio


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
        unknown = ~np.isfinite(log_mean)  # no shadow says anything of the photo: what shadows say of photos on the whole
        log_mean[unknown] = np.median(log_mean[~unknown]) if not unknown.all() else 0.0
    else:
        middle = np.median(log_out[np.isfinite(log_out)])
        log_mean = np.logaddexp(np.log(1 + offline_a) + log_out - middle, np.log(1 - offline_a)) - np.log(2) + middle
    ratio = np.round(log_target - log_mean, 9)  # what differs by rounding alone is a tie
    order = np.sort(ratio)
    below = np.searchsorted(order, ratio, side="left")
    result: np.ndarray = below / max(1, len(ratio) - 1)
    return result


def _log_mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """log of the mean of exp over the shadows of ``mask``, (N,); -inf where there is none."""
    count = mask.sum(0)
    total = logsumexp(np.where(mask, values, -np.inf), axis=0)
    with np.errstate(divide="ignore"):
        return np.where(count > 0, total - np.log(np.maximum(count, 1)), -np.inf)


def bavaria(target: np.ndarray, shadows: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Ratio of each photo's predictive densities inside and outside, whose means *and* variances are the photo's own, (N,).

    Each world of a photo is a Gaussian of unknown mean and variance with a conjugate normal-inverse-gamma prior, whose
    predictive density is Student's t with 2 alpha_n degrees of freedom, centre mu_n and squared scale
    beta_n (kappa_n + 1) / (alpha_n kappa_n) (arXiv 2603.11799, as we understand its form).  The priors are estimated over all
    photos: that of a mean is what the photo's other world predicts, that of the variances the moments of log sample variances
    (Smyth 2004).  Offline, the surprise of so high a score: -log of the tail of the world outside.
    """
    known = np.isfinite(shadows)
    within, without = inside & known, ~inside & known
    mean_out, count_out, noise_out = _means(shadows, without)
    centre_out, spread_out = _population(mean_out, count_out, noise_out)
    if not within.any():
        outside = _predictive(shadows, without, np.full(len(target), centre_out), spread_out)
        rareness: np.ndarray = -outside.logsf(target)
        return rareness
    mean_in, count_in, noise_in = _means(shadows, within)
    centre_in, spread_in = _population(mean_in, count_in, noise_in)
    shared = _covariance(mean_in - centre_in, mean_out - centre_out, count_in, count_out, spread_in, spread_out)
    worth_in = shared / (spread_out + _noise_of_mean(noise_out, count_out))  # of the other world's mean as a predictor
    worth_out = shared / (spread_in + _noise_of_mean(noise_in, count_in))
    prior_in = centre_in + worth_in * np.where(count_out > 0, mean_out - centre_out, 0)
    prior_out = centre_out + worth_out * np.where(count_in > 0, mean_in - centre_in, 0)
    inner = _predictive(shadows, within, prior_in, spread_in - worth_in * shared)
    outer = _predictive(shadows, without, prior_out, spread_out - worth_out * shared)
    ratio: np.ndarray = inner.logpdf(target) - outer.logpdf(target)
    return ratio


def _predictive(shadows: np.ndarray, mask: np.ndarray, prior: np.ndarray, spread: np.ndarray | float) -> rv_frozen:
    """The t distributions of N photos' scores, from the shadows of ``mask`` (K, N) and a prior of their means (N,)."""
    mean, count, noise = _means(shadows, mask)
    squares = np.square(np.where(mask, shadows - mean, 0.0)).sum(0)
    half_freedom, variance = _variance_prior(squares, count, noise)
    kappa = variance / np.maximum(spread, 1e-6 * variance)  # how many shadows the prior of the mean is worth
    total = kappa + count
    centre = np.where(count > 0, (kappa * prior + count * mean) / total, prior)
    alpha = half_freedom + count / 2
    gap = np.where(count > 0, kappa * count * np.square(mean - prior) / total, 0)
    beta = half_freedom * variance + (squares + gap) / 2
    return student(df=2 * alpha, loc=centre, scale=np.sqrt(beta * (total + 1) / (alpha * total)))


def _variance_prior(squares: np.ndarray, count: np.ndarray, noise: float) -> tuple[float, float]:
    """Half the degrees of freedom and the centre of the inverse-gamma prior of the photos' variances.

    From the mean and variance of the logarithms of sample variances: a photo's sample variance over the prior's centre follows
    an F distribution.  Where too few photos have two shadows, or variances differ no more than chance makes them, the prior
    is all but fixed at the pooled variance.
    """
    freedom = count - 1
    use = (freedom >= 1) & (squares > 0)
    if use.sum() < 10:
        return _FIXED, noise
    own = freedom[use]
    logs = np.log(squares[use] / own) - digamma(own / 2) + np.log(own / 2)
    excess = float(np.var(logs) - polygamma(1, own / 2).mean())
    if excess <= polygamma(1, _FIXED):
        return _FIXED, noise
    half = (
        float(brentq(lambda x: polygamma(1, x) - excess, _LEAST_HALF, _FIXED))
        if excess < polygamma(1, _LEAST_HALF)
        else _LEAST_HALF
    )
    return half, float(np.exp(logs.mean() + digamma(half) - np.log(half)))


_FIXED = 1e3  # half the degrees of freedom of a prior that hardly gives way
_LEAST_HALF = 0.75
