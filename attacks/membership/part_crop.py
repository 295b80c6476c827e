"""PartCrop: do the parts of a trained photo point more sharply at places of its feature map?"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr
from sklearn.pipeline import Pipeline

from attacks.shared.small_networks import fit_quietly, log_odds, network
from benchmark.interfaces import Access, Contrast, Knowledge, MembershipAttack, Reference, SignalRequest, Signals
from benchmark.signals.part_responses import PartResponses


class PartCrop(MembershipAttack):
    """A network on the sorted divergences of the responses of a photo's parts; see :mod:`benchmark.signals.part_responses`.

    On backbones of faces we have found it at chance, with few and with many parts, with cosines and with dot products.
    ``parts`` is 128 in the paper, and a pass of that many costs about ten plain ones; 32 cost a quarter.  The network is the
    published 512-256-128-1.
    """

    name: ClassVar[str] = "part_crop"
    title: ClassVar[str] = "PartCrop"
    summary: ClassVar[str] = "How sharply the parts of the photo respond to places of its last feature map."
    reference: ClassVar[Reference] = Reference(
        title="A Unified Membership Inference Method for Visual Self-supervised Encoder via Part-aware Capability",
        where="CCS 2024",
        arxiv="2404.02462",
    )
    access: ClassVar[Access] = Access.WEIGHTS
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY, Contrast.PAPER)

    knowledge: Literal[Knowledge.PARTIAL, Knowledge.AUXILIARY] = Knowledge.PARTIAL
    parts: int = Field(32, ge=4)

    _network: Pipeline = PrivateAttr()

    def requests(self) -> tuple[SignalRequest, ...]:
        return (PartResponses(parts=self.parts),)

    def _features(self, signals: Signals) -> np.ndarray:
        return np.asarray(signals[self.requests()[0]], np.float64)

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        self._network = network((512, 256, 128), decay=1.0, epochs=10)
        fit_quietly(self._network, self._features(signals), labels)

    def score(self, signals: Signals) -> np.ndarray:
        return log_odds(self._network, self._features(signals))
