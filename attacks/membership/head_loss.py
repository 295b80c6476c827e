"""Loss with the training head: the classical attack, for reference."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from attacks.shared.statistics import of_own_class
from benchmark.interfaces import Access, Contrast, Knowledge, MembershipAttack, Reference, SignalRequest, Signals
from benchmark.signals.head import HeadOutput

LOSS = HeadOutput(statistic="loss")


class HeadLoss(MembershipAttack):
    """Minus the cross entropy of the photo's own class under the training head, without margin.

    What an attacker would see if the classification layer had not been dropped; never part of the headline.  People who
    were not trained on have no class, so that only the sample contrast has a meaning.
    """

    name: ClassVar[str] = "head_loss"
    title: ClassVar[str] = "loss of the true head"
    summary: ClassVar[str] = (
        "The training loss of the photo under the training head: a reference, with more access than others."
    )
    reference: ClassVar[Reference] = Reference(
        title="Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting", where="CSF 2018", arxiv="1709.01604"
    )
    access: ClassVar[Access] = Access.HEAD
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE,)

    knowledge: Literal[Knowledge.NONE] = Knowledge.NONE

    def requests(self) -> tuple[SignalRequest, ...]:
        return (LOSS,)

    def score(self, signals: Signals) -> np.ndarray:
        """(N,) minus the loss; photos of people without a class make it not applicable."""
        return -of_own_class(signals, LOSS)
