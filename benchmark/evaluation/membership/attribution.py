"""Attribution: does a leak sit in the BatchNorm statistics, or in how the weights fit their training photos?

With a momentum of 0.1 the last 28 batches make up 95 % of a running statistic, to which one photo adds about 0.1 / batch size.
So a distance to the statistics may see the statistics remember a photo, or see weights that fit it.  Three questions:

- ``statistics``: the same weights with statistics estimated on public faces.  What goes away was in the statistics;
- ``order``: photos of the last batches of training against earlier ones.  Statistics remember the last ones, and at the end
  of a schedule the weights hardly move any more;
- ``unrelated_models``: the same distances on backbones that were not trained on these people.  What is found there is no leak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from benchmark.data.populations import SEEN, Populations
from benchmark.evaluation.membership.attribution_text import read
from benchmark.evaluation.membership.evidence import Evidence, gather, narrowed
from benchmark.evaluation.membership.scores import run_contrast
from benchmark.interfaces import Access, AttackSpec, Contrast, NotApplicableError
from benchmark.metrics.intervals import bootstrap_many
from benchmark.metrics.roc import roc
from benchmark.protocol.registry import build_attack, build_attacks
from benchmark.records.results import Attribution, AttributionRow, Metric
from benchmark.signals.target import Target
from benchmark.submissions.package import is_packed
from benchmark.submissions.submission import Submission
from benchmark.training.build import make_untrained
from benchmark.training.order import cuts, last_batches, remembered
from benchmark.training.shadows import ShadowPool, reference_pairs

DISTANCES = {
    "BN distance, mean": AttackSpec(name="bn_distance"),
    "BN distance, mean and variance": AttackSpec(name="bn_distance", settings={"statistic": "mean_var"}),
}
ATTACKS = {**DISTANCES, "regrown head": AttackSpec(name="regrown_head")}
CONTRASTS = (Contrast.SAMPLE, Contrast.IDENTITY)
Question = Literal["statistics", "order", "unrelated_models"]


@dataclass(frozen=True)
class Subject:
    """A submission on a track's photos, and where signals and other backbones are kept.

    ``init``: the weights that it was fine-tuned from.  ``order_known``: whether the card's seed can be trusted to say in which
    order it was trained.  ``train_shadow``: trains a backbone on public people where there is none yet.
    """

    submission: Submission
    populations: Populations
    cache: Path
    device: torch.device | str = "cpu"
    init: Submission | None = None
    order_known: bool = True
    train_shadow: bool = False

    def target(self, submission: Submission) -> Target:
        return Target(submission, Access.WEIGHTS, self.device)

    def evidence(self, target: Target, specs: Iterable[AttackSpec]) -> Evidence:
        """Signals of a target.

        Raises:
            NotApplicableError: it has no BatchNorm statistics.
        """
        attacks = build_attacks(specs)
        evidence = gather(target, self.populations, attacks, cache=self.cache / "signals")
        reasons = [reason for attack in attacks for reason in evidence.reasons(attack)]
        if reasons:
            raise NotApplicableError(reasons[0])
        return evidence


def attribute(subject: Subject, step: Callable[[str], None] = lambda _text: None) -> Attribution:
    """The three questions asked of one submission; what cannot be asked is left out with its reason."""
    rows: list[AttributionRow] = []
    left_out: dict[str, str] = {}
    questions = {"statistics": ask_statistics, "order": ask_order, "unrelated_models": ask_unrelated_models}
    for name, ask in questions.items():
        step(f"asking about {name.replace('_', ' ')}")
        try:
            rows += ask(subject)
        except NotApplicableError as error:
            left_out[name] = str(error)
    return Attribution(rows=tuple(rows), left_out=left_out, reading=read(rows))


def ask_statistics(subject: Subject) -> list[AttributionRow]:
    """Every attack with the trained statistics, and with those of public faces to compare with or in the forward pass."""
    populations = subject.populations
    target = subject.target(subject.submission)
    public = {name: _public(spec) for name, spec in ATTACKS.items()}
    evidence = subject.evidence(target, [*ATTACKS.values(), *public.values()])
    replaced = target.recalibrated(populations.source(reference_pairs(populations), "reference"))
    replaced_evidence = subject.evidence(replaced, DISTANCES.values())
    rows = []
    for name, spec in ATTACKS.items():
        cases = {"trained statistics": (spec, evidence), "public statistics": (public[name], evidence)}
        if name in DISTANCES:
            cases["public statistics, in the forward pass too"] = (spec, replaced_evidence)
        for contrast in CONTRASTS:
            scores = {case: run_contrast(s, e, contrast) for case, (s, e) in cases.items()}
            first = scores["trained statistics"]
            compared = {case: found.score for case, found in scores.items()}
            rows += compare("statistics", name, contrast.value, compared, first.label, first.identity)
    return rows


def _public(spec: AttackSpec) -> AttackSpec:
    return AttackSpec(name=spec.name, settings={**spec.settings, "statistics": "auxiliary"})


def ask_order(subject: Subject) -> list[AttributionRow]:
    """Seen photos of the last k batches against earlier ones, by the attack as it is and by one that learns just this."""
    if not subject.order_known:
        raise NotApplicableError("not trained here, so its order is not certain; --trust-card relies on the card's seed.")
    batches = last_batches(subject.submission, subject.populations, subject.init)
    evidence = subject.evidence(subject.target(subject.submission), DISTANCES.values())
    # The queried photos begin with the seen ones, in the order in which training numbers them.
    seen = np.flatnonzero(subject.populations.side == SEEN)
    known = subject.populations.labelled[seen]
    identity = evidence.identity[seen[~known]]
    rows = []
    for last in cuts(len(batches)):
        recent = np.zeros(len(seen), np.int64)
        recent[np.concatenate(batches[-last:])] = 1
        what = f"last {last} of {len(batches)} batches ({remembered(last):.0%} of a statistic) against earlier"
        for name, spec in DISTANCES.items():
            as_it_is = run_contrast(spec, evidence, Contrast.SAMPLE)
            cases = {
                "fitted to seen and unseen": as_it_is.score[as_it_is.label == 1],
                "fitted to the order itself": _learn(spec, evidence, seen[known], recent[known], seen[~known]),
            }
            for case, score in cases.items():
                rows += compare("order", name, what, {case: score}, recent[~known], identity)
    return rows


def _learn(spec: AttackSpec, evidence: Evidence, known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Scores of photos ``asked`` by the attack, fitted to any labels of the photos ``known``."""
    attack = build_attack(spec)
    attack.fit(narrowed(evidence.signals, attack, known), labels)
    return attack.score(narrowed(evidence.signals, attack, asked))


def ask_unrelated_models(subject: Subject) -> list[AttributionRow]:
    """The distances on backbones that were trained on nobody who is asked about."""
    rows = []
    for case, backbone in _strangers(subject).items():
        evidence = subject.evidence(subject.target(backbone), DISTANCES.values())
        for name, spec in DISTANCES.items():
            for contrast in CONTRASTS:
                found = run_contrast(spec, evidence, contrast)
                rows += compare("unrelated_models", name, contrast.value, {case: found.score}, found.label, found.identity)
    return rows


def _strangers(subject: Subject) -> dict[str, Submission]:
    track, folder = subject.populations.track, subject.cache / "shadows"
    found = {"untrained": make_untrained(track, folder)}
    if subject.init is not None:
        found["initial weights"] = subject.init
    pool = ShadowPool(subject.populations, folder, subject.device)
    for recipe in pool.undefended(subject.init):
        if subject.train_shadow or is_packed(pool.path(recipe)):
            found["trained on public people"] = pool.trained(recipe)
    return found


def compare(
    question: Question,
    attack: str,
    contrast: str,
    scores: Mapping[str, np.ndarray],
    label: np.ndarray,
    identity: np.ndarray,
) -> list[AttributionRow]:
    """A row a case: its AUC, and the difference from the first case's on the same resampled people."""
    positive = label == 1
    first, *others = scores

    def statistics(weights: np.ndarray) -> Mapping[str, np.ndarray]:
        auc = {case: roc(score, positive, weights).auc() for case, score in scores.items()}
        return {**{f"auc {c}": v for c, v in auc.items()}, **{f"difference {c}": auc[c] - auc[first] for c in others}}

    found = bootstrap_many(statistics, identity, labels=positive, seed=0)
    rows = []
    for case in scores:
        auc = Metric.of(found[f"auc {case}"].estimate, higher_is_better=False, note=_counts(positive))
        difference = Metric.of(found[f"difference {case}"].estimate, higher_is_better=None) if case != first else None
        rows.append(
            AttributionRow(question=question, attack=attack, case=case, contrast=contrast, auc=auc, difference=difference)
        )
    return rows


def _counts(positive: np.ndarray) -> str:
    return f"{int(positive.sum())} against {int((~positive).sum())} photos"
