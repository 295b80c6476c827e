"""Which of a person's photos are more alike than untrained ones, told by a classifier that shadows alone have taught."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt, PrivateAttr

from attacks.shared.centres import gallery, regrow, regrow_weighted, unit
from attacks.shared.joint_inference import JointInference
from attacks.shared.photo_pairs import PairStatistics
from attacks.shared.query_shadows import inside_of, of_people, scores_of
from attacks.shared.shadow_calibration import lira
from attacks.shared.statistics import SCALE
from attacks.shared.taught_by_shadows import FAR, boosting, fitted, require_two
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
from benchmark.signals.answers import Embedding

AMONG_EQUALS = 1e-3  # of the plain likelihood ratio, by which photos are ordered that trees do not tell apart


class PairStack(MembershipAttack):
    """Similarities of a photo to the person's other photos, in excess of what shadows that trained on neither say of the pair.

    A regrown head compares a photo with one centre, of which nobody knows which photos made it.  Here every pair speaks for
    itself (:mod:`attacks.shared.photo_pairs`): photos trained on together are drawn together.  The logits of the head regrown
    from all photos, calibrated by the shadows, and the joint inference without shadows stand beside the pairs.  Every shadow
    plays the target in its turn, with the others as its shadows; a classifier learns from all of them what follows, and is
    then shown the target.  It never sees a label of the target.  Of people that a shadow did not train on it says how alike
    their photos are untrained: that is asked, too.

    ``views="flip"`` takes the mean embedding of a photo and its mirror image, for trainings that saw both.  ``statistics``,
    ``queries`` and ``raw`` are those of :class:`~attacks.membership.regrown_head.RegrownHead`.
    """

    name: ClassVar[str] = "pair_stack"
    title: ClassVar[str] = "classifier over pairs"
    summary: ClassVar[str] = (
        "Similarities between a person's photos against those of shadows, judged by a classifier fitted on shadows."
    )
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY)
    needs_gallery: ClassVar[bool] = True
    asks_strangers: ClassVar[bool] = True

    knowledge: Literal[Knowledge.QUERY_POOL] = Knowledge.QUERY_POOL
    statistics: Literal["stored", "auxiliary"] = "stored"
    queries: PositiveInt = 1
    raw: bool = False
    views: Literal["none", "flip"] = "none"

    _shadows: Sequence[QueryShadow] = PrivateAttr(())

    def required_access(self) -> Access:
        """Estimating the statistics again, or bypassing the transform, takes the weights."""
        return self.requests()[0].access

    def requests(self) -> tuple[SignalRequest, ...]:
        photo = Embedding(reference=self.statistics, queries=self.queries, raw=self.raw)
        return (photo, photo.model_copy(update={"view": "flip"})) if self.views == "flip" else (photo,)

    def calibrate(self, shadows: Sequence[QueryShadow]) -> None:
        self._shadows = shadows

    def score(self, signals: Signals) -> np.ndarray:
        """(N,) log-odds.

        Raises:
            NotApplicableError: fewer than two shadows, or a person has one photo only.
        """
        require_two(self._shadows)
        embeddings, person = self._gallery(signals)
        shadows = scores_of(self._shadows, self._key("embeddings"), lambda s: self._gallery(s)[0])
        of_heads = np.concatenate([self._heads(signals)[None], scores_of(self._shadows, self._key("heads"), self._heads)])
        inside = np.concatenate([np.zeros((1, len(person)), bool), inside_of(self._shadows)])
        asked = np.stack([np.ones(len(person), bool), *self._asked(person)])
        pairs = PairStatistics(np.concatenate([embeddings[None], shadows]), inside, person, asked)
        tables = []
        for k in range(len(inside)):
            # A shadow that plays the target has one shadow fewer; so has the target, for the same scale.
            others = [other for other in range(1, len(inside)) if other != k][-(len(self._shadows) - 1) :]
            tables.append(np.hstack([pairs.columns(k, others), _calibrated(of_heads, inside, k, others, person)]))
        taught = np.vstack([table[rows] for table, rows in zip(tables[1:], asked[1:], strict=True)])
        labels = inside[1:][asked[1:]]
        # rounded: what differs by the order of sums alone is the same
        model = fitted(boosting(trees=100, leaves=10), taught.round(6), labels)
        found: np.ndarray = model.decision_function(tables[0].round(6))
        ratio = tables[0][:, PairStatistics.COLUMNS]  # the first of the calibrated columns
        found += AMONG_EQUALS * np.nan_to_num(ratio).round(6)
        return found

    def _asked(self, person: np.ndarray) -> list[np.ndarray]:
        """(N,) bool for each shadow: photos that it can be asked about as the target is, strangers' left out."""
        if of_people(self._shadows):
            return [shadow.usable for shadow in self._shadows]
        return [shadow.usable & (np.bincount(person, shadow.aligned_inside)[person] > 0) for shadow in self._shadows]

    def _gallery(self, signals: Signals) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings (M, D) of length 1 and people (M,) numbered 0..P-1, made once."""

        def made(signals: Signals) -> tuple[np.ndarray, np.ndarray]:
            found = [gallery(signals, request) for request in self.requests()]
            return unit(np.sum([embeddings for embeddings, _ in found], axis=0)), found[0][1]

        result: tuple[np.ndarray, np.ndarray] = signals.remembered(self._key("gallery"), made)
        return result

    def _heads(self, signals: Signals) -> np.ndarray:
        """(M, 3): logit under the head regrown from all photos, its term of other people, log-odds of the joint inference."""
        embeddings, person = self._gallery(signals)
        plain = regrow(embeddings, person, SCALE)
        first = regrow_weighted(embeddings, person, SCALE)
        inference = JointInference(embeddings, person, first.others, first.log_odds, SCALE)
        return np.stack([plain.log_odds, plain.others, inference.log_odds(inference.learn())], axis=1)

    def _key(self, what: str) -> tuple[Hashable, ...]:
        return ("pair stack", what, self.requests())


def _calibrated(heads: np.ndarray, inside: np.ndarray, one: int, others: Sequence[int], person: np.ndarray) -> np.ndarray:
    """(N, 7) about backbone ``one`` from ``heads`` (K, N, 3): two likelihood ratios and the joint log-odds, each with its
    distance from the mean of the person's photos; and the calibrated term of other people.
    """
    known = np.isfinite(heads[one]).all(1)
    found = []
    for column in range(2):
        values = np.where(known, heads[one, :, column], 0.0)
        ratio = lira(values, heads[list(others), :, column], inside[list(others)])
        found.append(np.where(known, np.clip(ratio, -FAR, FAR), np.nan))
    found.append(np.clip(heads[one, :, 2], -FAR, FAR))
    count = np.maximum(np.bincount(person, known), 1)
    means = [(np.bincount(person, np.nan_to_num(values)) / count)[person] for values in found]
    return np.stack([*found, *(v - m for v, m in zip(found, means, strict=True)), means[0]], axis=1)
