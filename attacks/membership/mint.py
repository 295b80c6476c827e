"""MINT: a network that reads membership off the activations of all layers."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from attacks.shared.small_networks import fit_quietly, log_odds, network
from benchmark.interfaces import Access, Contrast, Knowledge, MembershipAttack, Reference, SignalRequest, Signals
from benchmark.signals.layers import ChannelMeans


class MINT(MembershipAttack):
    """A multilayer perceptron on the spatial means of every channel before every normalisation layer.

    Each mean enters by its distance from the mean of the photos learned from, in standard deviations: with the
    few hundred labelled photos of a track, the plain values, as published, let the network memorise people and stay at chance.
    Works without BatchNorm, because it reads features and no stored statistics.  The paper's figures take non-members from
    other databases than the members, so that they are not comparable with ours.
    """

    name: ClassVar[str] = "mint"
    title: ClassVar[str] = "MINT"
    summary: ClassVar[str] = "A multilayer perceptron on the pooled activations of all layers."
    reference: ClassVar[Reference] = Reference(
        title="Is my Data in your AI Model? Membership Inference Test with Application to Face Images",
        where="2024",
        arxiv="2402.09225",
    )
    access: ClassVar[Access] = Access.WEIGHTS
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY, Contrast.PAPER)

    knowledge: Literal[Knowledge.PARTIAL, Knowledge.AUXILIARY] = Knowledge.PARTIAL
    statistic: Literal["mean", "mean_std"] = "mean"
    hidden: int = Field(64, ge=1)
    decay: float = Field(10.0, ge=0)

    _scaler: StandardScaler = PrivateAttr()
    _network: Pipeline = PrivateAttr()

    def requests(self) -> tuple[SignalRequest, ...]:
        return (ChannelMeans(statistic=self.statistic),)

    def _features(self, signals: Signals) -> np.ndarray:
        result: np.ndarray = np.abs(self._scaler.transform(np.asarray(signals[self.requests()[0]], np.float64)))
        return result

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        self._scaler = StandardScaler().fit(np.asarray(signals[self.requests()[0]], np.float64))
        self._network = network((self.hidden,), self.decay)
        fit_quietly(self._network, self._features(signals), labels)

    def score(self, signals: Signals) -> np.ndarray:
        return log_odds(self._network, self._features(signals))
