"""Everything that embeddings of views say of a photo, combined by a classifier that shadows alone have taught."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PrivateAttr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attacks.shared.centres import unit
from attacks.shared.query_shadows import inside_of, scores_of
from attacks.shared.shadow_calibration import lira
from attacks.shared.taught_by_shadows import FAR, boosting, fitted, require_two
from attacks.shared.view_statistics import PHOTO, averaged_logits, request, view_logits
from benchmark.interfaces import (
    Access,
    Contrast,
    Knowledge,
    MembershipAttack,
    QueryShadow,
    Reference,
    SignalRequest,
    Signals,
)

VIEWS = ("identity", "flip", "shift", "augment-0", "augment-1")


class ViewStack(MembershipAttack):
    """Regrown logits of five views and of their means, calibrated by the shadows, and the same of the person's other photos.

    Every shadow plays the target in its turn and is calibrated by the others; a classifier learns from all of them how the
    columns go together, and is then shown the target.  It never sees a label of the target.  The person's other photos
    matter since they made the class: where they look trained on, a high score of this photo says less.
    """

    name: ClassVar[str] = "view_stack"
    title: ClassVar[str] = "classifier over views"
    summary: ClassVar[str] = "Regrown logits of many views, calibrated by shadows, combined by a classifier fitted on shadows."
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY)
    needs_gallery: ClassVar[bool] = True

    knowledge: Literal[Knowledge.QUERY_POOL] = Knowledge.QUERY_POOL
    learner: Literal["boosting", "logistic"] = "boosting"

    _shadows: Sequence[QueryShadow] = PrivateAttr(())

    def requests(self) -> tuple[SignalRequest, ...]:
        return tuple(request(view) for view in VIEWS)

    def calibrate(self, shadows: Sequence[QueryShadow]) -> None:
        self._shadows = shadows

    def score(self, signals: Signals) -> np.ndarray:
        """(N,) log-odds.

        Raises:
            NotApplicableError: fewer than two shadows, or a person has one photo only.
        """
        require_two(self._shadows)
        person = np.unique(signals.identity, return_inverse=True)[1]
        tables, inside = scores_of(self._shadows, "view stack", statistics), inside_of(self._shadows)  # (K, N, S), (K, N)
        taught, labels = [], []
        for k, shadow in enumerate(self._shadows):
            columns = _columns(tables[k], np.delete(tables, k, 0), np.delete(inside, k, 0), person)
            taught.append(columns[shadow.usable])
            labels.append(inside[k, shadow.usable])
        # A shadow that plays the target is calibrated by one shadow fewer; so is the target, for the same scale.
        asked = _columns(statistics(signals), tables[1:], inside[1:], person)
        model = fitted(_classifier(self.learner), np.vstack(taught), np.concatenate(labels))
        result: np.ndarray = model.decision_function(asked)
        return result


def statistics(signals: Signals) -> np.ndarray:
    """(N, S): logits of the views, of means of views, the embedding's length, and how well views agree with the photo."""
    photo = np.asarray(signals[PHOTO], np.float64)
    means = [averaged_logits(signals, views, weighted=w) for views in (VIEWS[:1], VIEWS[:2]) for w in (False, True)]
    everything = averaged_logits(signals, VIEWS, weighted=True)
    length = np.log(np.linalg.norm(photo, axis=1) + 1e-12)
    agreement = [(unit(photo) * unit(np.asarray(signals[request(v)], np.float64))).sum(1) for v in VIEWS[1:3]]
    return np.column_stack([view_logits(signals, VIEWS), *means, everything, length, *agreement])


def _columns(target: np.ndarray, shadows: np.ndarray, inside: np.ndarray, person: np.ndarray) -> np.ndarray:
    """(N, 3 S): each statistic (N, S), its likelihood ratio, and the mean ratio of the person's other photos.

    Photos of which the target says nothing (NaN) stay NaN in the first and count in no mean.
    """
    known = np.isfinite(target).all(1)
    others = np.bincount(person, known)[person] - known
    found = []
    for s, values in enumerate(target.T):
        ratio = np.clip(lira(np.where(known, values, 0.0), shadows[..., s], inside), -FAR, FAR) * known
        mean = (np.bincount(person, ratio)[person] - ratio) / np.maximum(others, 1)
        found += [values, ratio, mean]
    return np.stack(found, axis=1).round(9)  # what differs by the order of sums alone is the same


def _classifier(learner: str) -> Any:
    if learner == "logistic":
        return make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000))
    return boosting(trees=80, leaves=8)
