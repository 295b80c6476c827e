"""Whether unlearning forgets: backbones that unlearned people beside backbones that never saw them, photo by photo.

Chance is the wrong yardstick: a photo of somebody never seen is not scored like any other either.  K backbones are trained with
everybody, and each unlearns those who leave; K others are trained without them.  To a photo of somebody who left, each of
the 2K in its turn is the target and the others are its two worlds: the likelihood ratio of LiRA says to which the target
belongs.  An AUC of 0.5 between the two kinds is forgetting; retained as well as lost more than never learned (the Streisand
effect) show as more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from attacks.shared.shadow_calibration import lira
from attacks.shared.statistics import STATISTICS, StatisticName
from benchmark.data.populations import Populations
from benchmark.evaluation.recognition import utility_metrics, verify_photos
from benchmark.interfaces import Access, DefenseSpec, FaceVeilError, Photos, content_hash
from benchmark.metrics.intervals import bootstrap_over_identities
from benchmark.metrics.roc import roc
from benchmark.protocol.registry import build_defense
from benchmark.records.results import Metric
from benchmark.signals.extraction import extract
from benchmark.signals.target import Target
from benchmark.submissions.submission import Submission, load_submission
from benchmark.training.build import UNDEFENDED, make_submission

FORGOTTEN = (0.47, 0.53)  # within which the whole 95 % interval of the AUC has to lie
METHODS = ("fine_tuning", "gradient_ascent", "random_labels", "dispersion")
NOTHING_DONE = "nothing"  # the backbones as they were trained: how much there is to forget
UTILITY = "tar@far=1e-3"
RETRAINED_SEED = 500  # of the first re-trained backbone: none shares a seed with one that unlearns


class Row(BaseModel):
    """One method at one share of people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    share: float
    auc: Metric  # between unlearned and re-trained; the unlearned are positive
    forgotten: bool  # the interval lies within FORGOTTEN
    utility: float  # mean TAR@FAR=1e-3 over the K backbones
    utility_retrained: float


class Forgetting(BaseModel):
    """What a study found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    track: str
    backbones: int  # of each kind
    statistic: str
    seed: int
    rows: tuple[Row, ...]


def told_apart(unlearned: np.ndarray, retrained: np.ndarray, person: np.ndarray, seed: int) -> Metric:
    """AUC between two kinds of backbones by the likelihood ratio of each photo's score, over photos and backbones.

    Args:
        unlearned: (K, n) scores of the photos of people who left under K backbones.
        retrained: (K', n) the same under backbones that never saw them.
        person: (n,) whom the photos show; intervals resample people and backbones.

    Raises:
        FaceVeilError: fewer than two backbones of a kind.
    """
    if min(len(unlearned), len(retrained)) < 2:
        raise FaceVeilError("telling unlearned from re-trained takes at least two backbones of each kind: raise --backbones.")
    scores = np.concatenate([unlearned, retrained])
    kind = np.arange(len(scores)) < len(unlearned)
    inside = np.repeat(kind[:, None], scores.shape[1], axis=1)
    ratio = np.stack([lira(scores[k], np.delete(scores, k, 0), np.delete(inside, k, 0)) for k in range(len(scores))])
    label, people = inside.ravel(), np.tile(person, len(scores))
    target = np.repeat(np.arange(len(scores)), scores.shape[1])
    flat = ratio.ravel()
    estimate = bootstrap_over_identities(lambda w: roc(flat, label, w).auc(), people, targets=target, seed=seed)
    return Metric.of(estimate, higher_is_better=None)


class Study:
    """Trains what is missing and judges; everything is kept in ``folder``, so that an interrupted study resumes."""

    def __init__(
        self,
        populations: Populations,
        folder: Path,
        *,
        backbones: int,
        statistic: StatisticName = "regrown_logit",
        seed: int = 0,
        device: torch.device | str = "cpu",
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.populations, self.folder, self.backbones = populations, folder, backbones
        self.statistic: StatisticName = statistic
        self.seed, self.device, self.step = seed, device, step
        self.photos = populations.seen
        self.identity = np.asarray(self.photos.identity)

    def run(self, methods: Sequence[str], shares: Sequence[float]) -> Forgetting:
        """A row for every method and share, and for every share one of the backbones as they were trained."""
        rows = []
        for share in shares:
            leaving = build_defense(self._spec("fine_tuning", share)).leaving(self.identity)  # type: ignore[attr-defined]
            stay = self.photos.take(np.flatnonzero(~leaving))
            again = [
                self._made(UNDEFENDED, stay, RETRAINED_SEED + k, f"training backbone {k + 1} without {share:.0%} of the people")
                for k in range(self.backbones)
            ]
            retrained = np.stack([self._scores(s) for s in again])[:, leaving]
            kept = self._utility(again)
            for method in (NOTHING_DONE, *methods):
                made = [self._unlearned(method, share, k) for k in range(self.backbones)]
                scores = np.stack([self._scores(s) for s in made])[:, leaving]
                auc = told_apart(scores, retrained, self.identity[leaving], self.seed)
                inside = auc.low is not None and auc.high is not None and FORGOTTEN[0] <= auc.low and auc.high <= FORGOTTEN[1]
                utility = self._utility(made)
                rows.append(Row(method=method, share=share, auc=auc, forgotten=inside, utility=utility, utility_retrained=kept))
        return Forgetting(
            track=self.populations.track.name, backbones=self.backbones, statistic=self.statistic, seed=self.seed,
            rows=tuple(rows),
        )  # fmt: skip

    def _spec(self, method: str, share: float) -> DefenseSpec:
        return DefenseSpec(name="unlearning", settings={"method": method, "share": share, "request": self.seed})

    def _unlearned(self, method: str, share: float, k: int) -> Submission:
        if method == NOTHING_DONE:
            return self._made(UNDEFENDED, self.photos, k, f"training backbone {k + 1} with everybody")
        return self._made(self._spec(method, share), self.photos, k, f"{method}, {share:.0%}, backbone {k + 1}")

    def _made(self, defense: DefenseSpec, photos: Photos, seed: int, text: str) -> Submission:
        key = content_hash(self.populations.track.digest, self.populations.data_digest, photos.digest, defense.label, seed)
        out = self.folder / "submissions" / key
        if out.exists():
            return load_submission(out)
        self.step(text)
        return make_submission(
            self.populations, defense, photos, seed=seed, out=out, work=self.folder / "work" / str(seed), device=self.device
        )

    def _target(self, submission: Submission) -> Target:
        return Target(submission, Access.EMBEDDING, self.device)

    def _scores(self, submission: Submission) -> np.ndarray:
        statistic = STATISTICS[self.statistic]
        signals = extract(self._target(submission), self.photos, (statistic.request,), cache=self.folder / "signals")
        return statistic.of(signals)

    def _utility(self, submissions: Sequence[Submission]) -> float:
        found = [
            utility_metrics(
                verify_photos(self._target(s), self.populations.verification, seed=self.seed, cache=self.folder / "signals")
            )[UTILITY].value
            for s in submissions
        ]
        return float(np.mean([value for value in found if value is not None]))
