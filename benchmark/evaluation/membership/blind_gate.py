"""The blind gate: can a contrast be told without any target at all?

Published membership results have been beaten by classifiers that never saw the model (members and non-members came
from different sources).  Once per track and split, classifiers on pixels and on backbones that never trained on the
people in question try each contrast, and so do the track's own attacks run against those backbones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from scipy.stats import norm as gaussian
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmark.data.populations import Populations
from benchmark.evaluation.membership.evidence import Evidence, gather
from benchmark.evaluation.membership.score_metrics import auc_estimate
from benchmark.evaluation.membership.scores import Scores, run_contrast
from benchmark.interfaces import (
    Access,
    AttackSpec,
    Contrast,
    FaceVeilError,
    Knowledge,
    Photos,
    SignalRequest,
)
from benchmark.protocol.registry import build_attack
from benchmark.records.results import Gate, GateProbe, Metric
from benchmark.signals.target import Target
from benchmark.submissions.submission import Submission

LIMIT = 0.53
HEADLINE = (Contrast.SAMPLE, Contrast.IDENTITY)
THUMBNAIL = 16
BATCH = 256
EMBEDDING = SignalRequest(layers="embedding")


def thumbnails(photos: Photos) -> np.ndarray:
    """(N, 768) float32: 16 x 16 RGB, all that the pixel classifier sees."""
    rows = np.empty((len(photos), 3 * THUMBNAIL**2), np.float32)
    for start in range(0, len(photos), BATCH):
        index = np.arange(start, min(start + BATCH, len(photos)))
        small = F.adaptive_avg_pool2d(photos.load(index).float(), THUMBNAIL)
        rows[index] = small.flatten(1).numpy()
    return rows


def classifier_scores(features: np.ndarray, evidence: Evidence, contrast: Contrast) -> Scores:
    """A regularised linear classifier, fitted on the people with known membership and applied to the others."""
    known, asked = evidence.sides(contrast, labelled=True), evidence.sides(contrast, labelled=False)
    components = min(64, features.shape[1], len(known) - 1)
    model = make_pipeline(
        StandardScaler(), PCA(components, whiten=True, random_state=0), LogisticRegression(C=0.1, max_iter=2000)
    )
    model.fit(features[known], evidence.labels(known, contrast))
    score = model.decision_function(features[asked])
    return Scores(score, evidence.labels(asked, contrast), evidence.identity[asked])


def blind_gate(
    populations: Populations, blind_targets: Mapping[str, Submission], attacks: Sequence[AttackSpec], *, cache: Path, seed: int
) -> Gate:
    """Every blind probe on every contrast, with intervals corrected for their number (Bonferroni).

    Args:
        blind_targets: backbones that never saw the people asked about, by name (``untrained``, ``public``).
        attacks: the track's; those that need shadow backbones are left out.
    """
    scores: dict[tuple[str, Contrast], Scores] = {}
    pixels = thumbnails(populations.queried)
    for name, submission in blind_targets.items():
        target = Target(submission, Access.WEIGHTS)
        specs = [spec for spec in attacks if build_attack(spec).knowledge in (Knowledge.NONE, Knowledge.PARTIAL)]
        evidence = gather(target, populations, specs, extra=(EMBEDDING,), cache=cache)
        for contrast in Contrast:
            scores[f"linear on {name} embedding", contrast] = classifier_scores(
                np.asarray(evidence.signals[EMBEDDING]), evidence, contrast
            )
            if ("linear on pixels", contrast) not in scores:
                scores["linear on pixels", contrast] = classifier_scores(pixels, evidence, contrast)
        for spec in specs:
            if any(r.key in evidence.missing_on_target for r in build_attack(spec).requests()):
                continue
            for contrast in build_attack(spec).contrasts:
                with suppress(FaceVeilError):  # no score, no blind success; on the target the failure is recorded
                    scores[f"{spec.label} on {name}", contrast] = run_contrast(spec, evidence, contrast)
    return judge(scores, seed)


def judge(scores: Mapping[tuple[str, Contrast], Scores], seed: int) -> Gate:
    """A gate from blind scores: invalid where a corrected interval excludes 0.5 and the AUC exceeds 0.53."""
    if not scores:
        raise FaceVeilError("the blind gate has no probe to run.")
    z = gaussian.isf(0.05 / 2 / len(scores))
    probes = []
    for (classifier, contrast), s in scores.items():
        estimate, deviation = auc_estimate(s.score, s.label, s.identity, seed=seed)
        low, high = estimate - z * deviation, estimate + z * deviation
        auc = Metric(
            value=estimate, low=max(0.0, low), high=min(1.0, high), n=len(np.unique(s.identity)), unit="people",
            method=f"normal, bootstrap over people, Bonferroni over {len(scores)}",
        )  # fmt: skip
        probes.append(GateProbe(classifier=classifier, contrast=contrast, auc=auc, invalid=low > 0.5 and estimate > LIMIT))
    return Gate(valid=not any(p.invalid and p.contrast in HEADLINE for p in probes), probes=tuple(probes))
