"""MemGuard: a defence of softmax outputs, kept as the negative control."""

from __future__ import annotations

from typing import ClassVar

from benchmark.interfaces import AttackSpec, Defense, Reference


class MemGuard(Defense):
    """Perturbs the softmax vector that a classifier returns; a backbone without its head returns none.

    The card records that it does not apply, the weights stay those of the undefended run, and no rank is given: the entry
    shows what a defence of the classification layer does for a system that has dropped it.
    """

    name: ClassVar[str] = "mem_guard"
    title: ClassVar[str] = "MemGuard"
    summary: ClassVar[str] = "Negative control: noise on the softmax output, which a backbone without a head does not have."
    reference: ClassVar[Reference] = Reference(
        title="MemGuard: Defending against Black-Box Membership Inference Attacks via Adversarial Examples",
        where="CCS 2019",
        arxiv="1909.10594",
    )
    family: ClassVar[str] = "none"
    post_hoc: ClassVar[bool] = True
    not_applicable: ClassVar[str] = "MemGuard perturbs softmax outputs, and a backbone without its head has none"

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Nothing to adapt to: the attack that ignores stored statistics keeps entries comparable."""
        return (AttackSpec(name="bn_distance", settings={"statistics": "auxiliary"}),)
