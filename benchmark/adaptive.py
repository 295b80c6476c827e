"""Attacks that know a defence which acts in training: named here once, for the defences that share them."""

from __future__ import annotations

from benchmark.interfaces import AttackSpec, Knowledge

# The head grown again, calibrated on shadows that were trained under the same defence.
CALIBRATED_HEAD = AttackSpec(name="regrown_head", settings={"knowledge": Knowledge.AUXILIARY.value})


def against_training(*more: AttackSpec) -> tuple[AttackSpec, ...]:
    """What the weights keep, whatever the running statistics say: distances to statistics of public faces, and the head.

    Args:
        more: attacks on the blind spot of one defence.
    """
    return (AttackSpec(name="bn_distance", settings={"statistics": "auxiliary"}), CALIBRATED_HEAD, *more)
