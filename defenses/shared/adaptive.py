"""Attacks that know a defence which acts in training: named here once, for the defences that share them."""

from __future__ import annotations

from benchmark.interfaces import AttackSpec, Knowledge

# The head grown again, calibrated on shadows that were trained under the same defence.
CALIBRATED_HEAD = AttackSpec(name="regrown_head", settings={"knowledge": Knowledge.AUXILIARY.value})

# Similarities between photos through statistics that were estimated again.
PAIRS_ANEW = AttackSpec(name="pair_stack", settings={"statistics": "auxiliary"})


def against_training(*more: AttackSpec) -> tuple[AttackSpec, ...]:
    """What the weights keep, whatever the running statistics say: distances to statistics of public faces, and the head.

    Args:
        more: attacks on the blind spot of one defence.
    """
    return (AttackSpec(name="bn_distance", settings={"statistics": "auxiliary"}), CALIBRATED_HEAD, *more)


def against_missing_statistics() -> tuple[AttackSpec, ...]:
    """Where no running statistics are left to read: distances to the means of the features on public faces."""
    return tuple(
        AttackSpec(name="bn_distance", settings={"statistics": "feature_means", "statistic": statistic})
        for statistic in ("mean", "mean_var")
    )


def against_changed_statistics() -> tuple[AttackSpec, ...]:
    """Where running statistics were changed at release: who holds the weights estimates them again, also for the head."""
    distances = tuple(
        AttackSpec(name="bn_distance", settings={"statistics": statistics, "statistic": statistic})
        for statistics in ("auxiliary", "repaired")
        for statistic in ("mean", "mean_var")
    )
    heads = tuple(
        AttackSpec(name="regrown_head", settings={"statistics": "auxiliary", "knowledge": knowledge})
        for knowledge in ("none", "query_pool")
    )
    return (*distances, *heads, PAIRS_ANEW)
