"""LiRA on any statistic of a backbone without its head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import PrivateAttr

from attacks.shared import shadow_calibration
from attacks.shared.query_shadows import inside_of, of_people, scores_of, spread_over_people
from attacks.shared.statistics import STATISTICS, StatisticName
from benchmark.interfaces import (
    Access,
    Contrast,
    Knowledge,
    MembershipAttack,
    NotApplicableError,
    QueryShadow,
    Reference,
    SignalRequest,
    Signals,
)


class Lira(MembershipAttack):
    """Likelihood ratio of a statistic under backbones with and without the photo (or the person), photo by photo.

    Online with shadows of the query pool, offline with auxiliary ones, which never saw any of the people.  With
    ``statistic="head_logit"`` it is the attack of a model whose training head was kept: a reference, never in the headline.
    """

    name: ClassVar[str] = "lira"
    title: ClassVar[str] = "LiRA"
    summary: ClassVar[str] = "Likelihood ratio of a statistic against shadow backbones with and without the photo (LiRA)."
    reference: ClassVar[Reference] = Reference(
        title="Membership Inference Attacks From First Principles", where="S&P 2022", arxiv="2112.03570", equation="4"
    )
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY)
    needs_gallery: ClassVar[bool] = True

    knowledge: Literal[Knowledge.QUERY_POOL, Knowledge.AUXILIARY] = Knowledge.QUERY_POOL
    statistic: StatisticName = "centre_cosine"

    _shadows: Sequence[QueryShadow] = PrivateAttr(())

    @property
    def calibrates(self) -> bool:
        return True

    def required_access(self) -> Access:
        """The head, for its logit."""
        return self.requests()[0].access

    def requests(self) -> tuple[SignalRequest, ...]:
        return (STATISTICS[self.statistic].request,)

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        """Learns nothing from auxiliary shadows' own people: what counts is what they say of the photos in question."""

    def calibrate(self, shadows: Sequence[QueryShadow]) -> None:
        self._shadows = shadows

    def score(self, signals: Signals) -> np.ndarray:
        of = STATISTICS[self.statistic].of
        if self.statistic == "head_logit" and self.knowledge == Knowledge.AUXILIARY:
            raise NotApplicableError("an auxiliary shadow's head has no class for the people in question.")
        shadows = scores_of(self._shadows, self.statistic, of)
        inside = inside_of(self._shadows)
        if self.statistic == "compactness":
            if not of_people(self._shadows):
                raise NotApplicableError("the compactness of a person says the same of each of the person's photos.")
            shadows = spread_over_people(shadows, signals.identity)
            inside = spread_over_people(np.where(np.isfinite(shadows), inside, np.nan), signals.identity) > 0
        return self.calibrated(of(signals), shadows, inside)

    def calibrated(self, target: np.ndarray, shadows: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """From the statistic (N,) of the target and (K, N) of the shadows; :class:`Rmia` differs here."""
        return shadow_calibration.lira(target, shadows, inside)
