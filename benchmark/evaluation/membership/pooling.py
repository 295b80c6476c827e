"""Scores of one attack on one contrast, of one target or of a whole population's.

Every backbone of a population is a target in its turn, and rates are counted over all of them together.  Scores that are
likelihood ratios against shadow backbones mean the same under every target and are pooled as they are; others (distances,
norms, log-odds of densities learned on one target) are pooled by their rank within their target, which no label has a part in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmark.interfaces import Contrast, Knowledge, MembershipAttack
from benchmark.runtime.checked import writing

_ARRAYS = ("score", "label", "identity", "photo", "target")
AS_THEY_ARE, BY_RANK = "scores pooled as they are", "scores pooled by rank within each target"


@dataclass(frozen=True)
class Scores:
    """Scores (n,), labels (1: positive of the contrast) and people; ``photo`` is the position of each row's photo among those
    that are queried, ``target`` the number of the backbone that it is about.
    """

    score: np.ndarray
    label: np.ndarray
    identity: np.ndarray
    photo: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    target: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if len(self.photo) != len(self.score):
            object.__setattr__(self, "photo", np.arange(len(self.score)))
        if len(self.target) != len(self.score):
            object.__setattr__(self, "target", np.zeros(len(self.score), np.int64))

    @property
    def targets(self) -> int:
        """How many targets there are."""
        return len(np.unique(self.target))

    def of(self, number: int) -> Scores:
        """The rows about one target."""
        return self.take(self.target == number)

    def take(self, index: np.ndarray) -> Scores:
        """Some of the rows."""
        return Scores(*(getattr(self, name)[index] for name in _ARRAYS))

    @property
    def sha256(self) -> str:
        whole = (self.label, self.identity, *((self.target,) if self.targets > 1 else ()))
        parts = (self.score.astype("<f8"), *(part.astype("<i8") for part in whole))
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def comparable(attack: MembershipAttack) -> bool:
    """Whether its scores mean the same under every target."""
    return attack.knowledge == Knowledge.QUERY_POOL


def pooled(scores: Sequence[Scores], numbers: Sequence[int], *, as_they_are: bool) -> Scores:
    """Scores of several targets in one, each row with its target's number."""
    own = [s.score if as_they_are or len(scores) == 1 else (rankdata(s.score) - 0.5) / len(s.score) for s in scores]
    target = np.repeat(np.asarray(numbers, np.int64), [len(s.score) for s in scores])
    label, identity, photo = (np.concatenate([getattr(s, name) for s in scores]) for name in ("label", "identity", "photo"))
    return Scores(np.concatenate(own), label, identity, photo, target)


def arrays_of(scores: Mapping[Contrast, Scores]) -> dict[str, np.ndarray]:
    """``<contrast>.score``, ``.label``, ``.identity``, ``.photo`` and ``.target``."""
    return {f"{c.value}.{name}": getattr(s, name) for c, s in scores.items() for name in _ARRAYS}


def scores_in(arrays: Mapping[str, np.ndarray]) -> dict[Contrast, Scores]:
    """The scores among named arrays."""
    found = [c for c in Contrast if f"{c.value}.score" in arrays]
    return {c: Scores(*(arrays[f"{c.value}.{name}"] for name in _ARRAYS)) for c in found}


def save_scores(path: Path, scores: Mapping[Contrast, Scores]) -> None:
    """Scores of one attack as ``.npz``."""
    arrays: dict[str, Any] = {**arrays_of(scores)}
    with writing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def load_scores(path: Path) -> dict[Contrast, Scores]:
    """What :func:`save_scores` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return scores_in(arrays)
