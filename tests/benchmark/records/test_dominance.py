from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.records.dominance import TAIL, AxisValues, dominance
from benchmark.records.ranking import Axis


def scores(values: np.ndarray, replicates: list[np.ndarray], sign: int = 1) -> AxisValues:
    return AxisValues.of([Axis(v, v - 0.02, v + 0.02) for v in values], replicates, sign)


def plain(axes: list[tuple[np.ndarray, list[np.ndarray], int]]) -> np.ndarray:
    """Dominance as the definition says it, pair by pair."""
    n = len(axes[0][0])
    result = np.zeros((n, n), bool)
    for i in range(n):
        for j in range(n):
            sides = [(sign * v[i], sign * v[j]) for v, _, sign in axes]
            if all(a >= b for a, b in sides) and any(a > b for a, b in sides):
                result[i, j] = any(
                    a > b and significant(v, r, sign, i, j) for (a, b), (v, r, sign) in zip(sides, axes, strict=True)
                )
    for _ in range(n):  # what is dominated by something dominated is dominated
        result |= (result.astype(int) @ result.astype(int)) > 0
    return result


def significant(values, replicates, sign, i, j) -> bool:
    size = min(len(replicates[i]), len(replicates[j]))
    if size:
        return float(np.mean(sign * replicates[i][:size] > sign * replicates[j][:size])) >= 1 - TAIL
    return bool(sign * (values[i] - values[j]) > 0.04)


def drawn_axes(seed, n):
    """Two axes on a coarse grid, so that equal values are common, with replicates of several sizes."""
    rng = np.random.default_rng(seed)
    axes = []
    for sign in (1, -1):
        values = rng.integers(0, 8, n) / 10
        sizes = rng.choice([0, 7, 40], n)
        axes.append((values, [v + 0.1 * rng.standard_normal(size) for v, size in zip(values, sizes, strict=True)], sign))
    return axes


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_it_is_a_strict_partial_order(seed, n):
    found = dominance(*(scores(*axis) for axis in drawn_axes(seed, n))).matrix()
    assert not found.diagonal().any(), "irreflexive"
    assert not (found & found.T).any(), "asymmetric"
    assert not (((found.astype(int) @ found.astype(int)) > 0) & ~found).any(), "transitive"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_it_is_what_the_definition_says(seed, n):
    axes = drawn_axes(seed, n)
    found = dominance(*(scores(*axis) for axis in axes))
    expected = plain(axes)
    np.testing.assert_array_equal(found.matrix(), expected)
    np.testing.assert_array_equal(found.layers, peeled(expected))


def peeled(dominates: np.ndarray) -> np.ndarray:
    """Layers as the definition says them: those that none of the rest dominates are set aside, again and again."""
    result = np.zeros(len(dominates), int)
    layer = 0
    while (result == 0).any():
        layer += 1
        rest = result == 0
        result[rest & ~dominates[rest].any(axis=0)] = layer
    return result


@pytest.mark.parametrize("sizes", [(40,), (0, 40), (0,)])
def test_many_entries_are_placed_as_the_definition_says(sizes):
    """More than are compared at once, with replicates, without, and mixed."""
    rng = np.random.default_rng(len(sizes))
    axes = []
    for sign in (1, -1):
        values = rng.uniform(0, 0.6, 90)
        noise = [0.05 * rng.standard_normal(rng.choice(sizes)) for _ in values]
        axes.append((values, [v + e for v, e in zip(values, noise, strict=True)], sign))
    np.testing.assert_array_equal(dominance(*(scores(*axis) for axis in axes)).matrix(), plain(axes))


def test_layers_count_the_longest_chain():
    values = np.array([0.9, 0.6, 0.3, 0.5])
    leaks = np.array([0.1, 0.2, 0.3, 0.05])
    found = dominance(scores(values, []), scores(leaks, [], -1))
    assert found.layers.tolist() == [1, 2, 3, 1]
    assert dominance(scores(values[:0], []), scores(leaks[:0], [], -1)).layers.tolist() == []


@pytest.mark.slow
def test_ten_thousand_entries_are_placed_within_a_minute():
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, (2, 10_000))
    noise = 0.02 * rng.standard_normal(200)
    axes = [[v + noise + 0.01 * rng.standard_normal(200) for v in row] for row in values]
    started = time.perf_counter()
    ranks = dominance(scores(values[0], axes[0]), scores(values[1], axes[1], -1)).layers
    seconds = time.perf_counter() - started
    print(f"10,000 entries: {seconds:.1f} s, {ranks.max()} layers")
    assert ranks.min() == 1
    assert ranks.max() > 10
