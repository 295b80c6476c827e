"""From scores to statements: is there a leak, how sure is that, and which photos does it expose?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import t as student

from benchmark.evaluation.audit.blind_probes import invalid_contrasts
from benchmark.evaluation.audit.question import Question
from benchmark.evaluation.audit.report import ExposedPhoto, Verdict
from benchmark.evaluation.membership.pooling import Scores
from benchmark.evaluation.membership.score_metrics import auc_estimate
from benchmark.interfaces import Contrast
from benchmark.metrics.intervals import clopper_pearson
from benchmark.records.results import AttackResult, Gate, Metric

Scored = Mapping[tuple[str, Contrast], tuple[Scores, np.ndarray]]  # scores and their rows by (attack, contrast)
EXPOSED = 12  # photos named for each contrast
SAME_PEOPLE = (
    "Where people have several photos, say who is on them: a probe that knows a face from one half finds it in the other."
)


def verdicts(question: Question, results: Sequence[AttackResult], scored: Scored, gate: Gate, seed: int) -> tuple[Verdict, ...]:
    """One verdict for every contrast; a leak is only called one where the blind probes leave the contrast standing.

    The interval of the strongest attack is corrected for having been picked (Bonferroni over the attacks of its contrast).
    """
    invalid = invalid_contrasts(gate)
    found = []
    for contrast, reason in question.contrasts.items():
        of_contrast = {label: scores for (label, c), (scores, _) in scored.items() if c == contrast}
        if reason or not of_contrast:
            text = f"not asked: {reason or 'no attack was applicable'}"
            found.append(Verdict(contrast=contrast, outcome="not_asked", text=text))
        else:
            verdict = _verdict(contrast, of_contrast, _widest(results, contrast), invalid.get(contrast, ""), seed)
            if verdict.outcome == "invalid" and not question.has_people:
                verdict = verdict.model_copy(update={"text": f"{verdict.text} {SAME_PEOPLE}"})
            found.append(verdict)
    return tuple(found)


def _widest(results: Sequence[AttackResult], contrast: Contrast) -> Mapping[str, Metric]:
    """The AUC of each attack on a contrast as its table shows it, so that no corrected interval is narrower than that."""
    return {r.label: r.contrasts[contrast].metrics["auc"] for r in results if contrast in r.contrasts}


def _verdict(
    contrast: Contrast, scores: Mapping[str, Scores], tables: Mapping[str, Metric], invalid: str, seed: int
) -> Verdict:
    estimates = {label: auc_estimate(s, seed=seed) for label, s in scores.items()}
    label = max(estimates, key=lambda name: estimates[name][0])
    value, deviation = estimates[label]
    reach = deviation * _deviations(scores[label], len(estimates))
    low, high = max(0.0, value - reach), min(1.0, value + reach)
    shown = tables[label]
    low, high = min(low, shown.low if shown.low is not None else low), max(high, shown.high if shown.high is not None else high)
    people = len(np.unique(scores[label].identity))
    auc = Metric(
        value=value, low=low, high=high, n=people, unit="people", higher_is_better=False,
        method=f"Student's t, bootstrap over people, Bonferroni over {len(estimates)}",
    )  # fmt: skip
    said = f"AUC {value:.3f} [{low:.3f}, {high:.3f}], corrected for {len(estimates)} attacks"
    if invalid:
        outcome = "invalid"
        text = (
            f"no statement: these photos can be told apart without the model ({invalid}), so that {label} ({said}) need not be "
        )
        text += "a leak. Compare photos from one source."
    elif low > 0.5:
        outcome, text = "leak", f"a leak: {label} tells them apart with {said}."
    else:
        outcome = "nothing_found"
        text = f"nothing found: the strongest attack, {label}, reaches {said}. An AUC below {high:.3f} would not have shown."
    return Verdict(contrast=contrast, outcome=outcome, text=text, attack=label, auc=auc, attacks=len(estimates))


def _deviations(scores: Scores, tried: int) -> float:
    """Half the width of a corrected 95 % interval, in bootstrap deviations: Student's t, because people may be few.

    Resampling n people spreads a mean by sqrt((n - 1) / n) too little; n is that of the side with fewer people.
    """
    sides = [len(np.unique(scores.identity[scores.label == label])) for label in (0, 1)]
    n = max(2, min(sides))
    return float(student.isf(0.05 / 2 / tried, n - 1) * np.sqrt(n / (n - 1)))


def exposed(scored: Scored, found: Sequence[Verdict], keys: Sequence[str]) -> tuple[ExposedPhoto, ...]:
    """The trained-on photos that the strongest attack of each leaking contrast gives away first."""
    photos = []
    for verdict in found:
        if verdict.outcome != "leak" or verdict.contrast == Contrast.IDENTITY:  # which is about people, not photos
            continue
        scores, rows = scored[verdict.attack, verdict.contrast]
        positive = np.flatnonzero(scores.label == 1)
        negative = np.sort(scores.score[scores.label == 0])
        for at in positive[np.argsort(-scores.score[positive], kind="stable")][:EXPOSED]:
            above = len(negative) - int(np.searchsorted(negative, scores.score[at], side="left"))
            photos.append(
                ExposedPhoto(
                    key=keys[rows[at]],
                    contrast=verdict.contrast,
                    attack=verdict.attack,
                    score=float(scores.score[at]),
                    fpr=above / len(negative),
                    fpr_high=clopper_pearson(above, len(negative))[1],
                    n_negative=len(negative),
                )
            )
    return tuple(photos)
