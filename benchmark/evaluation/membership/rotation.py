"""Rotation: every shadow of the query pool takes its turn as the target.

One target asks about too few photos for low false-positive rates.  The query pool holds many backbones trained as the
undefended target was, each on another half of the same photos, so each can be attacked with the others as its shadows.
Together they answer for tens of thousands of photos that the model in question never saw (as LiRA does, arXiv 2112.03570,
section V).  People are drawn again for the intervals, a person with all photos under all targets.

Shadows 2k and 2k + 1 are complements.  The complement of a target sits out: its training set says which photos the target's
was, and with it a photo of the target's would be inside fewer of the remaining shadows than another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from benchmark.data.populations import SEEN, UNSEEN, Populations
from benchmark.evaluation.membership.evidence import Evidence, Shadows, gather
from benchmark.evaluation.membership.scores import EVALUATION_VERSION, Scores, describe, load_scores, run_contrast, save_scores
from benchmark.interfaces import Access, AttackSpec, Contrast, FaceVeilError, Knowledge, NotApplicableError, content_hash
from benchmark.metrics.roc import auc
from benchmark.protocol.registry import build_attack
from benchmark.records.results import ContrastResult
from benchmark.signals.target import Target
from benchmark.training.shadows import PoolShadow


class Turns(BaseModel):
    """One attack against all targets: their scores pooled, and the AUC against each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: AttackSpec
    shadows: int  # each target was attacked with
    pooled: ContrastResult
    auc_by_target: tuple[float, ...]


class Rotation(BaseModel):
    """What rotation found on the sample contrast of one track; ``left_out`` maps attacks to the reason why they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    track: str
    targets: int
    seed: int
    turns: tuple[Turns, ...]
    left_out: dict[str, str]


@dataclass(frozen=True)
class Rotator:
    """Attacks every shadow of ``pool`` with the others.

    Args:
        pool: the shadows of photo halves in the order of their numbers, an even number of them.
        cache: signals and finished turns are kept here.
    """

    populations: Populations
    pool: Sequence[PoolShadow]
    cache: Path
    device: torch.device | str = "cpu"
    step: Callable[[str], None] = lambda _text: None

    def __post_init__(self) -> None:
        check_turns(len(self.pool))

    def run(self, specs: Sequence[AttackSpec]) -> Rotation:
        """Every attack on the sample contrast of every target, pooled."""
        found: dict[str, list[Scores]] = {spec.label: [] for spec in specs}
        left_out = {spec.label: reason for spec in specs if (reason := _cannot_turn(spec))}
        for number in range(len(self.pool)):
            evidence = cache(partial(self._evidence, [s for s in specs if s.label not in left_out], number))
            for spec in specs:
                try:
                    if spec.label not in left_out:
                        found[spec.label].append(self._scores(spec, number, evidence))
                except NotApplicableError as error:
                    left_out[spec.label] = str(error)
        turns = [self._turns(spec, found[spec.label]) for spec in specs if spec.label not in left_out]
        track = self.populations.track
        return Rotation(track=track.name, targets=len(self.pool), seed=track.split_seed, turns=tuple(turns), left_out=left_out)

    def _turns(self, spec: AttackSpec, scores: Sequence[Scores]) -> Turns:
        pooled = Scores(*(np.concatenate([getattr(s, name) for s in scores]) for name in ("score", "label", "identity")))
        return Turns(
            spec=spec,
            shadows=len(self.pool) - 2 if build_attack(spec).knowledge == Knowledge.QUERY_POOL else 0,
            pooled=describe(Contrast.SAMPLE, pooled, 0.5, self.populations.track.split_seed),
            auc_by_target=tuple(float(auc(s.score, s.label)) for s in scores),
        )

    def _scores(self, spec: AttackSpec, number: int, evidence: Callable[[], Evidence]) -> Scores:
        """One attack on one target; read where an earlier run has finished it."""
        path = self.cache / "rotations" / f"{self._name(spec, number)}.npz"
        if not path.exists():
            self.step(f"target {number + 1}/{len(self.pool)}: {spec.label}")
            for reason in evidence().reasons(build_attack(spec)):
                raise NotApplicableError(reason)
            save_scores(path, {Contrast.SAMPLE: run_contrast(spec, evidence(), Contrast.SAMPLE)})
        return load_scores(path)[Contrast.SAMPLE]

    def _evidence(self, specs: Sequence[AttackSpec], number: int) -> Evidence:
        """What all attacks may read of one target."""
        target, others = self.pool[number], [s for n, s in enumerate(self.pool) if n // 2 != number // 2]
        return gather(
            Target(target.submission, Access.HEAD, self.device),
            self.populations.relabelled(sides_under(self.populations, target.inside), self.populations.labelled),
            specs,
            shadows=Shadows(photos=others),
            cache=self.cache / "signals",
        )

    def _name(self, spec: AttackSpec, number: int) -> str:
        p = self.populations
        return content_hash(
            EVALUATION_VERSION,
            spec.model_dump(mode="json"),
            [s.submission.submission_id for s in self.pool],
            number,
            p.track.settings("image_size", "roles", "split_seed", "partial_share", "head"),
            p.data_digest,
            p.split_digest,
        )


def _cannot_turn(spec: AttackSpec) -> str:
    """Why an attack has nothing to do in a rotation; empty where it has."""
    attack = build_attack(spec)
    if Contrast.SAMPLE not in attack.contrasts:
        return "it is an attack on people, whose false positives rotation does not multiply."
    if attack.knowledge == Knowledge.AUXILIARY:
        return "its shadows are of public people; a rotation has those of the query pool."
    return ""


def check_turns(backbones: int) -> None:
    """Raises where that many shadows cannot take turns."""
    if backbones < 4 or backbones % 2:
        raise FaceVeilError(
            f"turns are taken by an even number of shadows of photo halves, 4 or more; the budget gives {backbones}. Pass "
            "--shadows photos=N."
        )


def sides_under(populations: Populations, inside: np.ndarray) -> np.ndarray:
    """(N,) sides of the queried photos under a shadow that trained on those of ``inside`` (N,)."""
    return np.where(np.isin(populations.side, (SEEN, UNSEEN)), np.where(inside, SEEN, UNSEEN), populations.side)
