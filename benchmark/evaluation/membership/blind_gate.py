"""The blind gate: can a contrast be told without any target at all?

Published membership results have been beaten by classifiers that never saw the model (members and non-members came
from different sources).  Once per track and split, classifiers on pixels and on backbones that never trained on the
people in question try each contrast, and so do the attacks run against those backbones.  They try it under several
memberships of the population, which are pooled as an entry's targets are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import norm as gaussian
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmark.data.populations import Populations
from benchmark.evaluation.membership.evidence import Evidence, ModelSignals, read_model, requested
from benchmark.evaluation.membership.pooling import Scores, pooled
from benchmark.evaluation.membership.score_metrics import auc_estimate
from benchmark.evaluation.membership.scores import EVALUATION_VERSION, run_contrast
from benchmark.interfaces import (
    Access,
    AttackSpec,
    Contrast,
    FaceVeilError,
    MembershipAttack,
    Photos,
    Signals,
    content_hash,
)
from benchmark.protocol.registry import build_attacks, plugin_file_digest
from benchmark.records.results import Gate, GateProbe, Metric
from benchmark.runtime.step_cache import Pieces
from benchmark.signals.answers import Embedding
from benchmark.signals.target import Target
from benchmark.submissions.submission import Submission

LIMIT = 0.53
HEADLINE = (Contrast.SAMPLE, Contrast.IDENTITY)
NUMBERS = 4  # memberships, at most, under which the probes try
THUMBNAIL = 16
BATCH = 256
EMBEDDING = Embedding()
PIXELS = "linear on pixels"


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
    return Scores(score, evidence.labels(asked, contrast), evidence.identity[asked], asked)


Estimate = tuple[float, float, int]  # AUC, its deviation, people
Estimates = Mapping[tuple[str, Contrast], Estimate]


@dataclass(frozen=True)
class _Probe:
    """One classifier, or an attack, on what one blind backbone (None: no backbone) says."""

    name: str
    submission: Submission | None
    spec: AttackSpec | None
    scores: Callable[[], Mapping[Contrast, Scores]]


@dataclass(frozen=True)
class BlindGate:
    """The probes of one track and split; each is tried once and kept.

    Args:
        blind: backbones that never saw the people asked about, by name (``untrained``, ``public``).
        numbers: the memberships under which probes try.
        folder: where finished probes are kept; ``cache``: signals.
    """

    populations: Populations
    blind: Mapping[str, Submission]
    numbers: Sequence[int]
    folder: Path
    cache: Path
    device: torch.device | str = "cpu"
    step: Callable[[str], None] = lambda _text: None

    def run(self, attacks: Sequence[AttackSpec]) -> Gate:
        """The linear probes and those of the attacks, judged together.

        Args:
            attacks: those asked for; what needs shadow backbones is left out.
        """
        estimates: dict[tuple[str, Contrast], Estimate] = {}
        for which in (PIXELS, *self.blind):
            estimates |= self.probe(which, attacks)
        return judge(estimates)

    def probe(self, which: str, attacks: Sequence[AttackSpec]) -> dict[tuple[str, Contrast], Estimate]:
        """Every probe of one blind backbone, or (``PIXELS``) of none: its AUC on each contrast.  Each is tried once."""
        found: dict[tuple[str, Contrast], Estimate] = {}
        for probe in self._probes(which, attacks):
            values = Pieces(self.folder).get(self._file(probe), partial(self._try, probe))
            found |= {(probe.name, Contrast(c)): tuple(value) for c, value in values.items()}
        return found

    def tried(self, which: str, attacks: Sequence[AttackSpec]) -> bool:
        """Whether an earlier run has tried all of these probes."""
        return all(Pieces(self.folder).has(self._file(probe)) for probe in self._probes(which, attacks))

    def _probes(self, which: str, attacks: Sequence[AttackSpec]) -> list[_Probe]:
        if which == PIXELS:
            return [_Probe(PIXELS, None, None, self._linear_on_pixels)]
        submission = self.blind[which]
        alone = [(s, a) for s, a in zip(attacks, build_attacks(attacks), strict=True) if not a.knowledge.uses_shadows]
        reader = _Blind(self, submission, [attack for _, attack in alone])
        linear = _Probe(f"linear on {which} embedding", submission, None, reader.linear)
        return [linear, *(_Probe(f"{s.label} on {which}", submission, s, partial(reader.attack, s, a)) for s, a in alone)]

    def _try(self, probe: _Probe) -> dict[str, Estimate]:
        self.step(f"blind gate: {probe.name}")
        return {c.value: estimate(s, self.populations.track.split_seed) for c, s in probe.scores().items()}

    def _file(self, probe: _Probe) -> str:
        p = self.populations
        origin = probe.submission.submission_id if probe.submission else None
        plugin = plugin_file_digest(probe.spec.name) if probe.spec else None
        settings = p.track.settings("image_size", "roles", "split_seed", "partial_share", "head")
        return content_hash(
            EVALUATION_VERSION, settings, p.data_digest, p.split_digest, list(self.numbers), probe.name, origin, plugin
        )

    @cached_property
    def _numbered(self) -> list[Populations]:
        return [self.populations.numbered(number) for number in self.numbers]

    def _linear_on_pixels(self) -> dict[Contrast, Scores]:
        pixels = thumbnails(self.populations.queried)
        nothing = Signals({}, np.asarray(self.populations.queried.identity))
        return self.linear(pixels, [Evidence.of(ModelSignals(own, nothing)) for own in self._numbered])

    def linear(self, features: np.ndarray, evidences: Sequence[Evidence]) -> dict[Contrast, Scores]:
        """The linear classifier on every contrast, under every membership."""
        return {c: self.together([classifier_scores(features, e, c) for e in evidences]) for c in Contrast}

    def together(self, scores: Sequence[Scores]) -> Scores:
        """Scores under each membership, by rank within it."""
        return pooled(scores, self.numbers, as_they_are=False)


@dataclass(frozen=True)
class _Blind:
    """One blind backbone in place of a target, read when a probe wants it."""

    gate: BlindGate
    submission: Submission
    attacks: Sequence[MembershipAttack]

    @cached_property
    def evidences(self) -> list[Evidence]:
        target = Target(self.submission, Access.WEIGHTS, self.gate.device)
        requests = (*requested(self.attacks), EMBEDDING)
        return [Evidence.of(read_model(target, own, requests, cache=self.gate.cache)) for own in self.gate._numbered]

    def linear(self) -> dict[Contrast, Scores]:
        return self.gate.linear(np.asarray(self.evidences[0].signals[EMBEDDING]), self.evidences)

    def attack(self, spec: AttackSpec, attack: MembershipAttack) -> dict[Contrast, Scores]:
        """Its scores on each contrast; no score, no blind success: on the target the failure is recorded."""
        if any(e.reasons(attack) for e in self.evidences):
            return {}
        found = {}
        for contrast in attack.contrasts:
            try:
                found[contrast] = self.gate.together([run_contrast(spec, e, contrast) for e in self.evidences])
            except FaceVeilError:
                continue
        return found


def estimate(scores: Scores, seed: int) -> Estimate:
    """What one probe reached on one contrast."""
    return (*auc_estimate(scores, seed=seed), len(np.unique(scores.identity)))


def judge(estimates: Estimates) -> Gate:
    """A gate from blind AUCs: a contrast is invalid where a corrected interval excludes 0.5 and the AUC exceeds 0.53."""
    if not estimates:
        raise FaceVeilError("the blind gate has no probe to run.")
    z = gaussian.isf(0.05 / 2 / len(estimates))
    probes = []
    for (classifier, contrast), (value, deviation, people) in estimates.items():
        low, high = value - z * deviation, value + z * deviation
        auc = Metric(
            value=value, low=max(0.0, low), high=min(1.0, high), n=people, unit="people",
            method=f"normal, bootstrap over people and memberships, Bonferroni over {len(estimates)}",
        )  # fmt: skip
        probes.append(GateProbe(classifier=classifier, contrast=contrast, auc=auc, invalid=low > 0.5 and value > LIMIT))
    out = {p.contrast for p in probes if p.invalid}
    return Gate(valid=any(c not in out for c in HEADLINE), probes=tuple(probes))
