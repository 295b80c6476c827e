"""Modified entropy with the training head: the classical attack, for reference."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from attacks.shared.statistics import of_own_class
from benchmark.interfaces import Access, Contrast, Knowledge, MembershipAttack, Reference, SignalRequest, Signals
from benchmark.signals.head import HeadOutput

ENTROPY = HeadOutput(statistic="entropy")


class HeadEntropy(MembershipAttack):
    """Minus the modified entropy of the posterior under the training head: low where the own class is sure.

    One threshold for all people; the published attack has one a class, which a labelled photo or two a person do not give.
    Never part of the headline.
    """

    name: ClassVar[str] = "head_entropy"
    title: ClassVar[str] = "entropy of the true head"
    summary: ClassVar[str] = "Modified entropy of the posterior under the training head: a reference, with more access."
    reference: ClassVar[Reference] = Reference(
        title="Systematic Evaluation of Privacy Risks of Machine Learning Models",
        where="USENIX Security 2021",
        arxiv="2003.10595",
        equation="8",
    )
    access: ClassVar[Access] = Access.HEAD
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE,)

    knowledge: Literal[Knowledge.NONE] = Knowledge.NONE

    def requests(self) -> tuple[SignalRequest, ...]:
        return (ENTROPY,)

    def score(self, signals: Signals) -> np.ndarray:
        """(N,) minus the modified entropy; photos of people without a class make it not applicable."""
        return -of_own_class(signals, ENTROPY)
