from __future__ import annotations

import math
import time

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from opacus.accountants import RDPAccountant
from opacus.accountants.analysis.rdp import compute_rdp
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from benchmark.interfaces import FaceVeilError
from defenses.private import accounting

# sample rate, noise multiplier, steps, delta: small and large batches, strong and mild noise
RUNS = [(0.05, 1.0, 500, 4e-4), (0.2, 2.0, 300, 1e-5), (0.01, 0.7, 2000, 1e-6), (0.05, 5.0, 100, 1e-5), (0.2, 0.6, 60, 4e-4)]
RUN = RUNS[0]


def event(rate: float, noise: float, steps: int) -> dp_accounting.DpEvent:
    return dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise)), steps
    )


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Of the Gaussian mechanism with sensitivity / deviation ``mu``, exactly (arXiv 1805.06530, theorem 8)."""

    def excess(epsilon: float) -> float:
        return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu) - delta

    return brentq(excess, 0, 500)


@pytest.mark.parametrize(("rate", "noise", "steps", "delta"), RUNS[:-1])
def test_rdp_equals_dp_accounting(rate, noise, steps, delta):
    theirs = RdpAccountant(RDPAccountant.DEFAULT_ALPHAS).compose(event(rate, noise, steps)).get_epsilon(delta)
    # At fractional orders theirs is rounded up.
    assert 0.995 * theirs <= accounting.epsilon_rdp(rate, noise, steps, delta) <= 1.0001 * theirs


@pytest.mark.parametrize(("rate", "noise", "order"), [(0.2, 2.0, 3.2), (0.05, 1.0, 5.8), (0.2, 0.6, 1.8)])
def test_renyi_divergence_at_a_fractional_order_is_the_integral(rate, noise, order):
    def moment(z: float) -> float:
        ratio = np.logaddexp(math.log(1 - rate), math.log(rate) + (2 * z - 1) / (2 * noise**2))
        return math.exp(order * ratio) * norm.pdf(z, 0, noise)

    integral = quad(moment, -30 * noise, 30 * noise + order, limit=500, points=[0, 1, order])[0]
    assert compute_rdp(q=rate, noise_multiplier=noise, steps=1, orders=order) == pytest.approx(
        math.log(integral) / (order - 1), rel=1e-6
    )


@pytest.mark.parametrize(("rate", "noise", "steps", "delta"), RUNS)
def test_prv_agrees_with_privacy_loss_distributions_and_is_no_looser_than_rdp(rate, noise, steps, delta):
    theirs = PLDAccountant(value_discretization_interval=1e-3).compose(event(rate, noise, steps)).get_epsilon(delta)
    ours = accounting.epsilon_prv(rate, noise, steps, delta)
    assert ours == pytest.approx(theirs, rel=0.02, abs=0.011)
    assert ours > theirs * 0.999, "an upper bound"
    assert ours <= accounting.epsilon_rdp(rate, noise, steps, delta)


@pytest.mark.parametrize(("noise", "steps", "delta"), [(5.0, 50, 4e-4), (2.0, 10, 1e-5), (20.0, 100, 1e-5)])
def test_without_subsampling_it_is_the_gaussian_mechanism(noise, steps, delta):
    exact = gaussian_epsilon(math.sqrt(steps) / noise, delta)
    assert exact <= accounting.epsilon_prv(1.0, noise, steps, delta) <= exact * 1.01 + 0.011
    assert exact <= accounting.epsilon_rdp(1.0, noise, steps, delta)


def test_epsilon_falls_with_noise_and_grows_with_steps_and_rate():
    rate, noise, steps, delta = RUN
    for accountant in (accounting.epsilon_rdp, accounting.epsilon_prv):
        base = accountant(rate, noise, steps, delta)
        assert accountant(rate, 2 * noise, steps, delta) < base
        assert accountant(rate, noise, 2 * steps, delta) > base
        assert accountant(2 * rate, noise, steps, delta) > base
        assert accountant(rate, noise, steps, delta / 100) > base


@pytest.mark.parametrize("target", [0.1, 8.0, 100.0])
def test_the_noise_found_keeps_the_target_and_is_no_larger_than_needed(target):
    noise = accounting.noise_for_epsilon(target, 4e-4, 0.05, 100)
    assert 0.985 * target <= accounting.epsilon_rdp(0.05, noise, 100, 4e-4) <= target
    assert accounting.upper_bound(0.05, noise, 100, 4e-4).epsilon <= target


def test_the_upper_bound_is_the_tighter_one_and_names_its_accountant():
    bound = accounting.upper_bound(*RUN)
    assert bound.epsilon == accounting.epsilon_prv(*RUN) < accounting.epsilon_rdp(*RUN)
    assert bound.accountant.startswith("PRV")
    assert not bound.vacuous


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.05, 0.1])
def test_hardly_any_noise_is_vacuous_at_once(noise):
    start = time.process_time()
    bound = accounting.upper_bound(0.2, noise, 300, 4e-4)
    assert time.process_time() - start < 5
    assert bound.vacuous
    assert bound.epsilon > accounting.VACUOUS_EPSILON
    assert bound.accountant.startswith("RDP")


def test_beyond_the_numerical_range_the_renyi_bound_stands_in():
    run = (0.2, 0.3, 300, 4e-4)
    with pytest.raises(FaceVeilError, match="use epsilon_rdp"):
        accounting.epsilon_prv(*run)
    bound = accounting.upper_bound(*run)
    assert bound.epsilon == accounting.epsilon_rdp(*run)
    assert bound.accountant.startswith("RDP")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate": 0.0}, "sample_rate"),
        ({"sample_rate": 1.1}, "sample_rate"),
        ({"noise_multiplier": -1.0}, "noise_multiplier"),
        ({"noise_multiplier": math.nan}, "noise_multiplier"),
        ({"steps": 0}, "steps"),
        ({"delta": 0.0}, "delta"),
        ({"delta": 1.0}, "delta"),
    ],
)
def test_values_out_of_range_are_named(change, message):
    values = {"sample_rate": 0.1, "noise_multiplier": 1.0, "steps": 10, "delta": 1e-5, **change}
    for accountant in (accounting.epsilon_rdp, accounting.epsilon_prv, accounting.upper_bound):
        with pytest.raises(FaceVeilError, match=message):
            accountant(**values)


@pytest.mark.parametrize("target", [0.0, -1.0, 1e-4, 2000.0, math.nan])
def test_targets_that_cannot_be_reached_are_refused(target):
    with pytest.raises(FaceVeilError, match="epsilon"):
        accounting.noise_for_epsilon(target, 1e-5, 0.1, 100)


@pytest.mark.parametrize("records", [2, 1200, 10**6])
def test_default_delta_is_below_one_over_the_records(records):
    assert 0 < accounting.default_delta(records) < 1 / records


def test_a_delta_that_covers_everything_leaves_a_positive_epsilon():
    assert 0 < accounting.upper_bound(0.3, 1000.0, 2, 0.1).epsilon < 0.02
