"""RMIA on any statistic of a backbone without its head."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import PositiveFloat

from attacks.membership.lira import Lira
from attacks.shared import shadow_calibration
from attacks.shared.statistics import StatisticName
from benchmark.interfaces import Reference


class Rmia(Lira):
    """Pairwise likelihood ratio test against other photos: exp(statistic / temperature) stands for the probability.

    The statistic is put in units of its own spread over all shadows first, so that one temperature serves all.
    """

    name: ClassVar[str] = "rmia"
    title: ClassVar[str] = "RMIA"
    summary: ClassVar[str] = "Likelihood ratio of a statistic against shadow backbones, relative to other photos (RMIA)."
    reference: ClassVar[Reference] = Reference(
        title="Low-Cost High-Power Membership Inference Attacks", where="ICML 2024", arxiv="2312.03262", equation="4"
    )

    statistic: StatisticName = "centre_cosine"
    temperature: PositiveFloat = 1.0

    def calibrated(self, target: np.ndarray, shadows: np.ndarray, inside: np.ndarray) -> np.ndarray:
        unit = float(np.nanstd(shadows)) or 1.0
        return shadow_calibration.rmia(target / unit, shadows / unit, inside, temperature=self.temperature)
