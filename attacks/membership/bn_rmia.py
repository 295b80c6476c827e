"""BN-RMIA: the distances to the BatchNorm statistics under the relative test of RMIA."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import PositiveFloat

from attacks.membership.bn_lira import BNLira
from attacks.shared.shadow_calibration import rmia
from benchmark.interfaces import Reference


class BNRmia(BNLira):
    """As ``bn_lira``, with the pairwise likelihood ratio test of RMIA on exp(score / temperature) in place of the Gaussians."""

    name: ClassVar[str] = "bn_rmia"
    title: ClassVar[str] = "BN-RMIA"
    summary: ClassVar[str] = "BN distance of a photo relative to shadow backbones and to other photos (RMIA)."
    reference: ClassVar[Reference] = Reference(
        title="FaceVeil, after Low-Cost High-Power Membership Inference Attacks", where="this project", arxiv="2312.03262"
    )

    temperature: PositiveFloat = 1.0

    def calibrated(self, target: np.ndarray, shadows: np.ndarray, inside: np.ndarray) -> np.ndarray:
        return rmia(target, shadows, inside, temperature=self.temperature)
