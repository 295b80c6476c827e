"""BaVarIA on any statistic of a backbone without its head."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from attacks.membership.lira import Lira
from attacks.shared import shadow_calibration
from attacks.shared.statistics import StatisticName
from benchmark.interfaces import Reference


class Bavaria(Lira):
    """LiRA whose variances are each photo's own, held by a prior: normal-inverse-gamma posteriors, Student's t to predict.

    With few shadows a photo's own variance is not known and LiRA takes one for all; the posterior lies between the two, as
    far as photos do differ and as many shadows as there are.
    """

    name: ClassVar[str] = "bavaria"
    title: ClassVar[str] = "BaVarIA"
    summary: ClassVar[str] = "Likelihood ratio against shadow backbones with a posterior for each photo's mean and variance."
    reference: ClassVar[Reference] = Reference(title="BaVarIA", where="arXiv", arxiv="2603.11799")

    statistic: StatisticName = "centre_cosine"

    def calibrated(self, target: np.ndarray, shadows: np.ndarray, inside: np.ndarray) -> np.ndarray:
        return shadow_calibration.bavaria(target, shadows, inside)
