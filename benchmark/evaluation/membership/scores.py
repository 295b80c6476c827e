"""One membership attack against one target: fit, score, and what it reached on each contrast."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.data.populations import HELD_OUT, SEEN, SIDES, UNSEEN
from benchmark.evaluation.membership.evidence import Evidence, ShadowSignals
from benchmark.evaluation.membership.score_metrics import contrast_metrics
from benchmark.interfaces import (
    AttackSpec,
    Contrast,
    FaceVeilError,
    Knowledge,
    MembershipAttack,
    NotApplicableError,
    QueryShadow,
    SignalRequest,
    Signals,
)
from benchmark.metrics.roc import log_spaced_roc
from benchmark.protocol.registry import build_attack
from benchmark.records.results import AttackResult, ContrastResult
from benchmark.runtime.atomic import replacing
from benchmark.runtime.memory import PeakMemory, peak_memory

EVALUATION_VERSION = 2  # part of every piece's name: raise it when a metric or an attack changes its meaning


@dataclass(frozen=True)
class Scores:
    """Scores of one attack on one contrast, of the people asked about."""

    score: np.ndarray
    label: np.ndarray
    identity: np.ndarray

    @property
    def sha256(self) -> str:
        parts = (self.score.astype("<f8"), self.label.astype("<i8"), self.identity.astype("<i8"))
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def _of_shadow(signals: Signals, attack: MembershipAttack, evidence: Evidence) -> Signals:
    """A shadow's signals narrowed to what the attack asked for.

    Raises:
        NotApplicableError: the shadow cannot give one of them, or gives one that does not compare with the target's.
    """
    for request in attack.requests():
        if request.key not in signals.values:
            raise NotApplicableError(
                evidence.missing_on_shadow.get(request.key, f"a shadow backbone gives no {request.key!r}.")
            )
        own, targets = signals.values[request.key].shape[1:], evidence.signals.values[request.key].shape[1:]
        if request.layers not in ("embedding", "similarity") and own != targets:
            raise NotApplicableError(
                f"the shadow backbones are of another architecture: {request.key!r} is {own} there, {targets} here."
            )
    return narrowed(signals, attack)


def narrowed(signals: Signals, attack: MembershipAttack) -> Signals:
    """Only what the attack asked for; without a gallery it is not told which photos show the same person."""
    values = {r.key: signals.values[r.key] for r in attack.requests()}
    identity = signals.identity if attack.needs_gallery else np.arange(len(signals))
    return Signals(values=values, identity=identity, group=signals.group)


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
        return narrowed(evidence.signals.take(index), attack), _positive(populations.side[index], attack, contrast)
    parts, labels = [], []
    for shadow in _auxiliary(evidence):
        index = np.flatnonzero(np.isin(shadow.side, _fitted_on(attack, contrast)))
        parts.append(_of_shadow(shadow.signals.take(index), attack, evidence))
        labels.append(_positive(shadow.side[index], attack, contrast))
    return Signals.concatenate(parts), np.concatenate(labels)


def _fitted_on(attack: MembershipAttack, contrast: Contrast) -> tuple[int, ...]:
    """Sides whose photos an attack learns from: the contrast's own, or all where it mixes a member's photos."""
    return (SEEN, UNSEEN, HELD_OUT) if attack.mixes and contrast != Contrast.SAMPLE else SIDES[contrast]


def _positive(side: np.ndarray, attack: MembershipAttack, contrast: Contrast) -> np.ndarray:
    """1 for members (or their seen photos), 0 for the others."""
    mixed = attack.mixes and contrast != Contrast.SAMPLE
    return (side != HELD_OUT if mixed else side == SIDES[contrast][0]).astype(np.int64)


def _auxiliary(evidence: Evidence) -> Sequence[ShadowSignals]:
    if not evidence.shadows:
        raise NotApplicableError(
            "the track's budget, or a defence unknown here, gives an 'auxiliary' attacker no shadow backbones."
        )
    return evidence.shadows


def query_shadows(attack: MembershipAttack, evidence: Evidence, contrast: Contrast, index: np.ndarray) -> list[QueryShadow]:
    """Shadows asked about the photos ``index``: of the query pool, or auxiliary ones, which trained on none of them."""
    if attack.knowledge == Knowledge.QUERY_POOL:
        shadows = list(evidence.pool.get(contrast, ()))
        if not shadows:
            none = f"the track's budget gives a 'query_pool' attacker no shadow backbones on the {contrast.value} contrast."
            reasons = [evidence.missing_on_shadow[r.key] for r in attack.requests() if r.key in evidence.missing_on_shadow]
            raise NotApplicableError(next(iter(reasons), none))
    else:
        outside = np.zeros(len(evidence.signals), bool)
        shadows = [QueryShadow(s.queried, outside) for s in _auxiliary(evidence) if s.queried is not None]
    return [QueryShadow(_of_shadow(s.signals.take(index), attack, evidence), s.inside[index]) for s in shadows]


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
    score = np.asarray(attack.score(narrowed(evidence.signals.take(index), attack)), np.float64)
    if score.shape != (len(index),):
        raise FaceVeilError(f"attack {spec.label}: score must be of shape ({len(index)},), got {score.shape}.")
    if not np.isfinite(score).all():
        raise FaceVeilError(f"attack {spec.label}: {int((~np.isfinite(score)).sum())} of {len(score)} scores are not finite.")
    scores = Scores(score, evidence.labels(index, contrast), evidence.identity[index])
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
                "all photos of a person got the same score: which of them were trained on, it cannot tell."
            )


def run_attack(
    spec: AttackSpec, evidence: Evidence, *, adaptive: bool, blind: Mapping[Contrast, float], seed: int
) -> tuple[AttackResult, dict[Contrast, Scores]]:
    """One attack on every contrast it has a meaning for.

    Args:
        blind: the strongest blind AUC of each contrast.

    Returns:
        The result (``not_applicable`` or ``failed`` with a reason, rather than a number, where there is none) and the scores.
    """
    attack = build_attack(spec)
    result = AttackResult(spec=spec, adaptive=adaptive, access=attack.required_access(), knowledge=attack.knowledge)
    try:
        check_access(attack)
    except FaceVeilError as error:  # a plug-in's mistake ends its own attack, not the evaluation
        return result.model_copy(update={"status": "failed", "reason": str(error)}), {}
    reasons = evidence.reasons(attack)
    if reasons:
        return result.model_copy(update={"status": "not_applicable", "reason": reasons[0]}), {}
    started = time.perf_counter()
    results: dict[Contrast, ContrastResult] = {}
    scores: dict[Contrast, Scores] = {}
    reasons_by_contrast: dict[Contrast, str] = {}
    peaks: list[PeakMemory] = []
    for contrast in attack.contrasts:
        try:
            with peak_memory() as memory:
                scores[contrast] = run_contrast(spec, evidence, contrast)
            peaks.append(memory)
            results[contrast] = describe(contrast, scores[contrast], blind.get(contrast, 0.5), seed)
        except NotApplicableError as error:
            reasons_by_contrast[contrast] = str(error)
        except FaceVeilError as error:
            return result.model_copy(update={"status": "failed", "reason": str(error)}), {}
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # an odd submission must not end the evaluation
            reason = f"unexpected {type(error).__name__}: {error}"
            return result.model_copy(update={"status": "failed", "reason": reason}), {}
    if not results:
        reason = next(iter(reasons_by_contrast.values()))
        update = {"status": "not_applicable", "reason": reason, "not_applicable": reasons_by_contrast}
        return result.model_copy(update=update), {}
    update = {
        "not_applicable": reasons_by_contrast,
        "contrasts": results,
        "seconds": time.perf_counter() - started,
        "peak_memory_mb": max(peak.mb for peak in peaks),
        "memory_measure": peaks[0].measure,
        "queries": views(attack.requests()) * len(evidence.identity),
    }
    return result.model_copy(update=update), scores


def views(requests: Iterable[SignalRequest]) -> int:
    """Forward passes a photo that the requests need."""
    return len({r.view for r in requests})


def describe(contrast: Contrast, scores: Scores, blind: float, seed: int) -> ContrastResult:
    """Metrics with intervals over people."""
    metrics, realised = contrast_metrics(scores.score, scores.label, scores.identity, blind=blind, seed=seed)
    return ContrastResult(
        contrast=contrast,
        people=len(np.unique(scores.identity)),
        n_positive=int(scores.label.sum()),
        n_negative=int((1 - scores.label).sum()),
        metrics=metrics,
        realised_fpr=realised,
        roc=log_spaced_roc(scores.score, scores.label, points=200),
        scores_sha256=scores.sha256,
    )


def save_scores(path: Path, scores: Mapping[Contrast, Scores]) -> None:
    """Scores of one attack as ``.npz``: ``<contrast>.score``, ``.label``, ``.identity``."""
    arrays = {f"{c.value}.{name}": getattr(s, name) for c, s in scores.items() for name in ("score", "label", "identity")}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def load_scores(path: Path) -> dict[Contrast, Scores]:
    """What :func:`save_scores` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        contrasts = sorted({name.rpartition(".")[0] for name in arrays})
        return {Contrast(c): Scores(*(arrays[f"{c}.{n}"] for n in ("score", "label", "identity"))) for c in contrasts}
