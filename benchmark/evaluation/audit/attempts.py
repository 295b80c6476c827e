"""Membership attacks of an audit: which ones a module allows, and what each reaches on the photos asked about."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from benchmark.data.populations import HELD_OUT, SIDES
from benchmark.evaluation.audit.observations import Observations
from benchmark.evaluation.audit.question import Question
from benchmark.evaluation.membership.evidence import narrowed
from benchmark.evaluation.membership.pooling import Scores
from benchmark.evaluation.membership.scores import check_access, refuse_constant_scores
from benchmark.evaluation.membership.summary import describe
from benchmark.interfaces import (
    AttackSpec,
    Contrast,
    FaceVeilError,
    Knowledge,
    MembershipAttack,
    NotApplicableError,
    QueryShadow,
)
from benchmark.protocol.registry import build_attack
from benchmark.records.results import AttackResult, ContrastResult


def _attack(name: str, **settings: str) -> AttackSpec:
    return AttackSpec(name=name, settings=settings)


# In the order in which a report lists what was not applicable.
WITHOUT_SHADOWS = (
    _attack("bn_distance"),
    _attack("bn_distance", statistic="mean_var"),
    _attack("bn_distance", statistics="feature_means"),
    _attack("embedding_norm"),
    _attack("encoder_mi"),
    _attack("gradient_norm", of="input"),  # over all weights it takes minutes on a processor: ask for it by name
    _attack("mint"),
    _attack("regrown_head"),
    _attack("regrown_head", gallery="marginal"),
    _attack("regrown_head", gallery="weighted"),
    _attack("regrown_head", knowledge="partial"),
    _attack("quantile"),
    _attack("compactness"),
    _attack("slmia"),
    _attack("ensemble"),
)
WITH_SHADOWS = (
    _attack("bn_lira"),
    _attack("lira"),
    _attack("rmia"),
    _attack("lira", statistic="embedding_norm"),
    _attack("regrown_head", knowledge="query_pool"),
    _attack("regrown_head", gallery="mean", knowledge="query_pool"),
    _attack("pair_stack"),
)
WITH_OFFLINE_SHADOWS = (
    _attack("lira", knowledge="auxiliary"),
    _attack("rmia", knowledge="auxiliary"),
    _attack("lira", knowledge="auxiliary", statistic="embedding_norm"),
)


def attacks_for(shadows: bool, offline: bool) -> tuple[AttackSpec, ...]:
    """What an audit runs by default: the ones with shadows too, where there are any."""
    return WITHOUT_SHADOWS + ((WITH_OFFLINE_SHADOWS if offline else WITH_SHADOWS) if shadows else ())


def run_attack(
    spec: AttackSpec, seen: Observations, *, blind: Mapping[Contrast, float], seed: int
) -> tuple[AttackResult, dict[Contrast, tuple[Scores, np.ndarray]]]:
    """One attack on every contrast that it and the photos allow.

    Returns:
        The result (with a reason rather than a number where there is none), and by contrast the scores with their rows.
    """
    attack = build_attack(spec)  # says what it needs; each contrast fits one of its own
    result = AttackResult(spec=spec, access=attack.required_access(), knowledge=attack.knowledge)
    try:
        check_access(attack)
    except FaceVeilError as error:
        return result.model_copy(update={"status": "failed", "reason": str(error)}), {}
    reasons = seen.reasons(attack) or _beside_the_point(attack, seen)
    if reasons:
        return result.model_copy(update={"status": "not_applicable", "reason": reasons[0]}), {}
    started = time.perf_counter()
    found: dict[Contrast, ContrastResult] = {}
    scores: dict[Contrast, tuple[Scores, np.ndarray]] = {}
    why_not: dict[Contrast, str] = {}
    for contrast in attack.contrasts:
        try:
            scores[contrast] = score(build_attack(spec), seen, contrast)
            found[contrast] = describe(contrast, scores[contrast][0], blind.get(contrast, 0.5), seed)
        except NotApplicableError as error:
            why_not[contrast] = str(error)
        except FaceVeilError as error:
            return result.model_copy(update={"status": "failed", "reason": str(error)}), {}
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            return result.model_copy(update={"status": "failed", "reason": f"{type(error).__name__}: {error}"}), {}
    update: dict[str, object] = {"not_applicable": why_not, "contrasts": found, "seconds": time.perf_counter() - started}
    if not found:
        update |= {"status": "not_applicable", "reason": next(iter(why_not.values()))}
    return result.model_copy(update=update), scores


def _beside_the_point(attack: MembershipAttack, seen: Observations) -> list[str]:
    """Reasons that lie in how the audit was asked, not in the module."""
    if getattr(attack, "statistics", "") == "feature_means" and not any("norm.mean.stored" in k for k in seen.missing):
        return ["the model stores BatchNorm statistics, which bn_distance reads instead of estimated feature means."]
    if attack.knowledge.uses_shadows and not seen.shadows:
        return ["no shadow models were given (shadows=)."]
    if attack.knowledge == Knowledge.QUERY_POOL and seen.offline:
        return ["the shadow models were trained on none of the photos; it needs some that were trained on part of them."]
    if attack.needs_gallery and not seen.question.has_people:
        return ["it compares photos of one person: say who is on the photos (subfolders, or people=)."]
    return []


def score(attack: MembershipAttack, seen: Observations, contrast: Contrast) -> tuple[Scores, np.ndarray]:
    """Fits and scores an attack on one contrast; the scores, and which photos they are of.

    Raises:
        NotApplicableError: the photos do not ask this contrast, or the attack has no meaning on them.
        FaceVeilError: scores of a wrong shape, or not finite.
    """
    question = seen.question
    if question.contrasts[contrast]:
        raise NotApplicableError(question.contrasts[contrast])
    if attack.knowledge == Knowledge.PARTIAL:
        mixed = attack.mixes and contrast != Contrast.SAMPLE
        rows = _some(question.rows(contrast, labelled=True, galleries=attack.needs_gallery, mixed=mixed))
        positive = question.side[rows] != HELD_OUT if mixed else question.side[rows] == SIDES[contrast][0]
        attack.fit(narrowed(seen.signals, attack, rows), positive.astype(np.int64))
    rows = _some(question.rows(contrast, labelled=False, galleries=attack.needs_gallery))
    if attack.calibrates:
        attack.calibrate([_of_shadow(s, attack, rows, question, contrast) for s in seen.shadows])
    values = np.asarray(attack.score(narrowed(seen.signals, attack, rows)), np.float64)
    if values.shape != (len(rows),) or not np.isfinite(values).all():
        raise FaceVeilError(f"its scores are of shape {values.shape} for {len(rows)} photos, or not finite.")
    counted = question.evened(rows, contrast)
    values, rows = values[counted], rows[counted]
    scores = Scores(values, question.labels(rows, contrast), question.identity[rows])
    refuse_constant_scores(scores, contrast)
    return scores, rows


def _some(rows: np.ndarray) -> np.ndarray:
    if not len(rows):
        raise NotApplicableError("no person has two photos here, and it compares photos of one person.")
    return rows


def _of_shadow(
    shadow: QueryShadow, attack: MembershipAttack, rows: np.ndarray, question: Question, contrast: Contrast
) -> QueryShadow:
    """What a shadow says of the photos ``rows``, as the contrast asks: of photos, or of people by photos new to it."""
    lacking = [r.key for r in attack.requests() if r.key not in shadow.signals.values]
    if lacking:
        raise NotApplicableError(f"a shadow model gives no {lacking[0]!r}.")
    of_person = np.bincount(question.identity, shadow.inside)[question.identity] > 0
    inside, usable = shadow.inside[rows], np.ones(len(rows), bool)
    if contrast == Contrast.IDENTITY:
        inside, usable = of_person[rows], ~inside
    elif contrast == Contrast.SAMPLE and shadow.inside.any() and not attack.asks_strangers:
        usable = of_person[rows]
    if attack.needs_gallery:
        person = question.identity[rows]
        usable &= np.bincount(person, usable)[person] > 1
    if not usable.any():
        raise NotApplicableError(
            "a shadow model says nothing here: it trained on all of these photos, or on none of the people."
        )
    kept = np.flatnonzero(usable)
    place = np.full(len(rows), -1)
    place[kept] = np.arange(len(kept))
    return QueryShadow(narrowed(shadow.signals, attack, rows[kept]), inside[kept], place)
