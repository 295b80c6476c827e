"""LiRA over the views that training showed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import PrivateAttr

from attacks.shared.query_shadows import inside_of, scores_of
from attacks.shared.shadow_calibration import bavaria, lira
from attacks.shared.view_statistics import request, view_logits
from benchmark.interfaces import Access, Contrast, Knowledge, MembershipAttack, QueryShadow, Reference, SignalRequest, Signals

VIEWS = {"flip": ("identity", "flip"), "flip_shift": ("identity", "flip", "shift")}


class ViewLira(MembershipAttack):
    """Mean log-likelihood ratio over the views of a photo: flipped, or flipped and shifted, as the training declares.

    Each view is judged under the class grown from the person's other photos and calibrated by shadows' answers to the same
    view.  A backbone that was trained with flips has learned the mirrored photo as well as the photo.  Views that training did
    not show (``shift``, where it did not) carry little and dilute the rest.
    """

    name: ClassVar[str] = "view_lira"
    title: ClassVar[str] = "LiRA over training views"
    summary: ClassVar[str] = "Likelihood ratio of the regrown logit, averaged over the views that training showed (LiRA)."
    reference: ClassVar[Reference] = Reference(
        title="Membership Inference Attacks From First Principles",
        where="S&P 2022",
        arxiv="2112.03570",
        equation="section VI-C",
    )
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY)
    needs_gallery: ClassVar[bool] = True

    knowledge: Literal[Knowledge.QUERY_POOL] = Knowledge.QUERY_POOL
    views: Literal["flip", "flip_shift"] = "flip"
    rule: Literal["lira", "bavaria"] = "lira"

    _shadows: Sequence[QueryShadow] = PrivateAttr(())

    def requests(self) -> tuple[SignalRequest, ...]:
        return tuple(request(view) for view in VIEWS[self.views])

    def calibrate(self, shadows: Sequence[QueryShadow]) -> None:
        self._shadows = shadows

    def score(self, signals: Signals) -> np.ndarray:
        """(N,) mean log-likelihood ratio.

        Raises:
            NotApplicableError: a person has one photo only.
        """
        views = VIEWS[self.views]
        target = view_logits(signals, views)
        shadows = scores_of(self._shadows, ("view logits", views), lambda s: view_logits(s, views))
        inside = inside_of(self._shadows)
        rule = lira if self.rule == "lira" else bavaria
        result: np.ndarray = np.mean([rule(target[:, v], shadows[..., v], inside) for v in range(len(views))], axis=0)
        return result
