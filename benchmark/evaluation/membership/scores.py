"""One membership attack against one target: fit and score, contrast by contrast."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from benchmark.data.populations import HELD_OUT, SEEN, SIDES, UNSEEN
from benchmark.evaluation.membership.evidence import POOLED, Evidence, ShadowSignals, narrowed
from benchmark.evaluation.membership.pooling import Scores
from benchmark.interfaces import (
    AttackSpec,
    Contrast,
    FaceVeilError,
    Knowledge,
    MembershipAttack,
    NotApplicableError,
    QueryShadow,
    Signals,
)
from benchmark.protocol.registry import build_attack
from benchmark.runtime.memory import Measure, peak_memory
from benchmark.signals.extraction import passes

EVALUATION_VERSION = 5  # part of every piece's name: raise it when a metric or an attack changes its meaning


def _check_shadow(signals: Signals, attack: MembershipAttack, evidence: Evidence) -> None:
    """Raises NotApplicableError where a shadow cannot give a signal, or gives one that does not compare with the target's."""
    for request in attack.requests():
        if request.key not in signals.values:
            raise NotApplicableError(
                evidence.missing_on_shadow.get(request.key, f"a shadow backbone gives no {request.key!r}.")
            )
        own, targets = signals.values[request.key].shape[1:], evidence.signals.values[request.key].shape[1:]
        if request.follows_architecture and own != targets:
            raise NotApplicableError(
                f"the shadow backbones are of another architecture: {request.key!r} is {own} there, {targets} here."
            )


def check_access(attack: MembershipAttack) -> None:
    """Raises where an attack asks for signals beyond its declared access."""
    for request in attack.requests():
        if not attack.required_access().allows(request.access):
            raise FaceVeilError(
                f"attack {attack.name!r} declares {attack.required_access().value!r} access but requests {request.key!r}, "
                f"which needs {request.access.value!r}."
            )


def training_signals(attack: MembershipAttack, evidence: Evidence, contrast: Contrast) -> tuple[Signals, np.ndarray]:
    """Labelled signals according to the attack's knowledge: of some of the target's people, or of auxiliary shadows."""
    if attack.knowledge == Knowledge.PARTIAL:
        populations = evidence.populations
        index = np.flatnonzero(np.isin(populations.side, _fitted_on(attack, contrast)) & populations.labelled)
        return narrowed(evidence.signals, attack, index), _positive(populations.side[index], attack, contrast)
    parts, labels = [], []
    for shadow in _auxiliary(evidence):
        index = np.flatnonzero(np.isin(shadow.side, _fitted_on(attack, contrast)))
        _check_shadow(shadow.signals, attack, evidence)
        parts.append(narrowed(shadow.signals, attack, index))
        labels.append(_positive(shadow.side[index], attack, contrast))
    return Signals.concatenate(parts), np.concatenate(labels)


def _fitted_on(attack: MembershipAttack, contrast: Contrast) -> tuple[int, ...]:
    """Sides whose photos an attack learns from: the contrast's own, or all where it mixes a member's photos."""
    return (SEEN, UNSEEN, HELD_OUT) if attack.mixes and contrast != Contrast.SAMPLE else SIDES[contrast]


def _positive(side: np.ndarray, attack: MembershipAttack, contrast: Contrast) -> np.ndarray:
    """1 for members (or their seen photos), 0 for the others."""
    mixed = attack.mixes and contrast != Contrast.SAMPLE
    result: np.ndarray = (side != HELD_OUT if mixed else side == SIDES[contrast][0]).astype(np.int64)
    return result


def _auxiliary(evidence: Evidence) -> Sequence[ShadowSignals]:
    if not evidence.shadows:
        raise NotApplicableError(
            "there are no shadow backbones for an 'auxiliary' attacker: the track's budget has none, or the defence is unknown."
        )
    return evidence.shadows


def query_shadows(attack: MembershipAttack, evidence: Evidence, contrast: Contrast, index: np.ndarray) -> list[QueryShadow]:
    """Shadows asked about the photos ``index``: of the query pool, or auxiliary ones, which trained on none of them."""
    if attack.knowledge == Knowledge.QUERY_POOL:
        if not evidence.pool or contrast not in POOLED:
            raise NotApplicableError(
                f"there are no shadow backbones for a 'query_pool' attacker on the {contrast.value} contrast."
            )
        shadows = [model.as_shadow(attack, contrast, index) for model in evidence.pool]
    else:
        outside, rows = np.zeros(len(index), bool), np.arange(len(index))
        queried = [s.queried for s in _auxiliary(evidence) if s.queried is not None]
        shadows = [QueryShadow(narrowed(signals, attack, index), outside, rows) for signals in queried]
    for shadow in shadows:
        _check_shadow(shadow.signals, attack, evidence)
    return shadows


def run_contrast(spec: AttackSpec, evidence: Evidence, contrast: Contrast) -> Scores:
    """Fits and scores one attack on one contrast.

    Raises:
        NotApplicableError: the attack has no meaning here; the text says why.
        FaceVeilError: the scores are not finite or of the wrong shape.
    """
    attack = build_attack(spec)
    if attack.knowledge in (Knowledge.PARTIAL, Knowledge.AUXILIARY):
        attack.fit(*training_signals(attack, evidence, contrast))
    index = evidence.sides(contrast, labelled=False)
    if attack.calibrates:
        attack.calibrate(query_shadows(attack, evidence, contrast, index))
    score = np.asarray(attack.score(narrowed(evidence.signals, attack, index)), np.float64)
    if score.shape != (len(index),):
        raise FaceVeilError(f"attack {spec.label}: score must be of shape ({len(index)},), got {score.shape}.")
    if not np.isfinite(score).all():
        raise FaceVeilError(f"attack {spec.label}: {int((~np.isfinite(score)).sum())} of {len(score)} scores are not finite.")
    scores = Scores(score, evidence.labels(index, contrast), evidence.identity[index], index)
    refuse_constant_scores(scores, contrast)
    return scores


def refuse_constant_scores(scores: Scores, contrast: Contrast) -> None:
    """Raises :class:`NotApplicableError` where an AUC of 0.5 would follow from the scores alone, whatever was trained on."""
    if not len(scores.score):
        return
    if np.ptp(scores.score) == 0:
        raise NotApplicableError("every photo got the same score: the attack has nothing to go by here.")
    if contrast == Contrast.SAMPLE:
        person = np.unique(scores.identity, return_inverse=True)[1]
        low, high = np.full(person.max() + 1, np.inf), np.full(person.max() + 1, -np.inf)
        np.minimum.at(low, person, scores.score)
        np.maximum.at(high, person, scores.score)
        if (low == high).all():
            raise NotApplicableError(
                "all photos of a person got the same score, so it cannot tell which of them were trained on."
            )


@dataclass
class TargetScores:
    """What one attack said of one target: scores by contrast, or why there are none, and what it cost."""

    scores: dict[Contrast, Scores]
    status: Literal["ok", "not_applicable", "failed"] = "ok"
    reason: str = ""
    not_applicable: dict[Contrast, str] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    memory_measure: Measure = "process"
    queries: int = 0


def score_target(spec: AttackSpec, evidence: Evidence) -> TargetScores:
    """One attack on every contrast of one target that it has a meaning for; a reason rather than a number where it has none."""
    attack = build_attack(spec)
    found = TargetScores({}, queries=passes(attack.requests()) * len(evidence.identity))
    try:
        check_access(attack)
    except FaceVeilError as error:  # a plug-in's mistake ends its own attack, not the evaluation
        return TargetScores({}, "failed", str(error))
    reasons = evidence.reasons(attack)
    if reasons:
        return TargetScores({}, "not_applicable", reasons[0])
    started = time.perf_counter()
    for contrast in attack.contrasts:
        try:
            with peak_memory() as memory:
                found.scores[contrast] = run_contrast(spec, evidence, contrast)
            found.peak_memory_mb, found.memory_measure = max(found.peak_memory_mb, memory.mb), memory.measure
        except NotApplicableError as error:
            found.not_applicable[contrast] = str(error)
        except FaceVeilError as error:
            return TargetScores({}, "failed", str(error))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # an odd submission must not end the evaluation
            return TargetScores({}, "failed", f"unexpected {type(error).__name__}: {error}")
    if not found.scores:
        found.status, found.reason = "not_applicable", next(iter(found.not_applicable.values()), "it names no contrast.")
    found.seconds = time.perf_counter() - started
    return found
