"""Accounting of differential privacy: the upper bound of what DP-SGD leaks about one record.

Every function is about the Poisson-subsampled Gaussian mechanism, composed ``steps`` times: each record enters a step with
probability ``sample_rate``, the sum of contributions of norm at most C gets Gaussian noise of deviation
``noise_multiplier`` x C, and two data sets are neighbours where one has a record more than the other.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import opacus
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.utils import get_noise_multiplier

from benchmark.interfaces import FaceVeilError

VACUOUS_EPSILON = 1000.0  # beyond it no statement of any use is left
PRV_LIMIT = 200.0  # beyond it exponentials of privacy losses overflow, and the numerical bound is no bound
# A numerical bound is this much above the true epsilon: 0.01, or a thousandth of epsilon where that is more.
_PRV_ERROR, _PRV_RELATIVE_ERROR = 0.01, 0.001
_SEARCH_TOLERANCE = 0.01  # of the target epsilon
_LEAST_EPSILON = 1e-6  # where a large delta alone covers everything, the conversion to epsilon goes below 0


@dataclass(frozen=True)
class UpperBound:
    """A certified (``epsilon``, ``delta``), and by which accountant.  ``epsilon`` is infinite where there is no bound."""

    epsilon: float
    delta: float
    accountant: str

    @property
    def vacuous(self) -> bool:
        """True where epsilon is so large that it promises nothing."""
        return self.epsilon > VACUOUS_EPSILON


def default_delta(records: int) -> float:
    """1 / N^1.1: below 1/N, at which publishing one record outright would count as private."""
    return float(records**-1.1)


@lru_cache(maxsize=64)
def epsilon_rdp(sample_rate: float, noise_multiplier: float, steps: int, delta: float) -> float:
    """Epsilon by Renyi divergences (arXiv 1908.10530): valid always, fast, not tight; infinite without noise.

    Raises:
        FaceVeilError: a value out of range.
    """
    _check(sample_rate, steps, delta)
    if not noise_multiplier >= 0:
        raise FaceVeilError(f"noise_multiplier must be 0 or more, not {noise_multiplier}.")
    if noise_multiplier == 0:
        return math.inf
    accountant = RDPAccountant()
    accountant.history = [(noise_multiplier, sample_rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at an end of the range of orders the bound is looser, and still a bound
        return max(_LEAST_EPSILON, float(accountant.get_epsilon(delta)))


@lru_cache(maxsize=64)
def epsilon_prv(sample_rate: float, noise_multiplier: float, steps: int, delta: float) -> float:
    """Epsilon by numerical composition of privacy loss variables (arXiv 2106.02848): an upper bound, tight to 0.1 % or 0.01.

    Raises:
        FaceVeilError: a value out of range, an epsilon beyond ``PRV_LIMIT``, or a composition that fails numerically.
    """
    rough = epsilon_rdp(sample_rate, noise_multiplier, steps, delta)
    if rough > PRV_LIMIT:
        raise FaceVeilError(
            f"epsilon is about {rough:.3g}, too large for the PRV accountant (at most {PRV_LIMIT:g}): "
            "use epsilon_rdp, or raise noise_multiplier."
        )
    accountant = PRVAccountant()
    accountant.history = [(noise_multiplier, sample_rate, steps)]
    try:
        with warnings.catch_warnings(), np.errstate(divide="ignore"):  # log(1 - sample_rate) at a sample rate of 1
            warnings.simplefilter("ignore")  # of the Renyi bound that sizes the grid
            epsilon = float(accountant.get_epsilon(delta, eps_error=max(_PRV_ERROR, _PRV_RELATIVE_ERROR * rough)))
    except (RuntimeError, ValueError) as error:
        raise FaceVeilError(f"the PRV accountant found no bound ({error}): use epsilon_rdp.") from error
    if not math.isfinite(epsilon):
        raise FaceVeilError("the PRV accountant overflowed: use epsilon_rdp.")
    return max(_LEAST_EPSILON, epsilon)


def upper_bound(sample_rate: float, noise_multiplier: float, steps: int, delta: float) -> UpperBound:
    """The smaller of both bounds; the Renyi bound alone where the numerical one does not exist.

    Raises:
        FaceVeilError: a value out of range.
    """
    rdp = epsilon_rdp(sample_rate, noise_multiplier, steps, delta)
    try:
        prv = epsilon_prv(sample_rate, noise_multiplier, steps, delta)
    except FaceVeilError:
        prv = math.inf
    return UpperBound(prv, delta, _name("PRV")) if prv < rdp else UpperBound(rdp, delta, _name("RDP"))


@lru_cache(maxsize=64)
def noise_for_epsilon(target: float, delta: float, sample_rate: float, steps: int) -> float:
    """The least noise multiplier, to a hundredth of ``target``, whose Renyi epsilon is at most ``target``.

    Raises:
        FaceVeilError: a value out of range, or a target that no noise reaches.
    """
    _check(sample_rate, steps, delta)
    if not 0 < target <= VACUOUS_EPSILON:
        raise FaceVeilError(f"a target epsilon must be above 0 and at most {VACUOUS_EPSILON:g}, not {target}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(
                get_noise_multiplier(
                    target_epsilon=target,
                    target_delta=delta,
                    sample_rate=sample_rate,
                    steps=steps,
                    epsilon_tolerance=_SEARCH_TOLERANCE * target,
                )
            )
    except ValueError as error:
        raise FaceVeilError(
            f"no noise reaches epsilon {target:g} at delta {delta:.3g} with {steps} steps at sample rate {sample_rate:.3g} "
            f"({error}): raise epsilon or delta."
        ) from error


def _name(accountant: str) -> str:
    return f"{accountant} (Opacus {opacus.__version__})"


def _check(sample_rate: float, steps: int, delta: float) -> None:
    if not 0 < sample_rate <= 1:
        raise FaceVeilError(f"sample_rate must be above 0 and at most 1, not {sample_rate}.")
    if steps < 1:
        raise FaceVeilError(f"steps must be at least 1, not {steps}.")
    if not 0 < delta < 1:
        raise FaceVeilError(f"delta must lie between 0 and 1, not {delta}.")
