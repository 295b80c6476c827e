"""The shadow pool: backbones that the attacker trains on public people, whose membership the attacker knows.

Trained once per (track, backbone, defence, number), by content hash, and read from disk one at a time.  Defences that only
change the trained weights transform existing undefended shadows instead of training new ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmark.backbones import complete_kwargs
from benchmark.composition import Composition, Defenses, compose
from benchmark.data.populations import HELD_OUT, SEEN, UNSEEN, Populations
from benchmark.interfaces import FaceVeilError, Knowledge, Photos, content_hash
from benchmark.making import ProgressCallback, make_submission
from benchmark.protocol import BackboneSpec
from benchmark.submission import Submission, load_submission

PUBLIC_SHARE = 0.2  # of the auxiliary people: never in a shadow's training, kept to estimate statistics on
SHADOW_SEED = 1_000_000  # keeps shadows apart from the seeds of entries


@dataclass(frozen=True)
class AuxiliaryPeople:
    """How one auxiliary shadow plays the target's game with public people."""

    pairs: np.ndarray  # (n, 2) identity, photo
    side: np.ndarray  # (n,) SEEN, UNSEEN, HELD_OUT


def public_pairs(populations: Populations) -> np.ndarray:
    """Photos of the auxiliary people that no shadow trains on, for re-estimating statistics."""
    public, _ = _partition(populations)
    auxiliary = populations.split.auxiliary
    return auxiliary[np.isin(auxiliary[:, 0], public)]


def _partition(populations: Populations) -> tuple[np.ndarray, np.ndarray]:
    people = np.unique(populations.split.auxiliary[:, 0])
    people = np.random.default_rng([populations.track.split_seed, 101]).permutation(people)
    cut = round(PUBLIC_SHARE * len(people))
    return people[:cut], people[cut:]


def auxiliary_people(populations: Populations, number: int) -> AuxiliaryPeople:
    """The members (seen, unseen) and held-out people of shadow ``number``: other halves for other numbers.

    Two thirds of the people are the shadow's members, up to the target's own number of members.
    """
    roles = populations.roles
    _, people = _partition(populations)
    auxiliary = populations.split.auxiliary
    rng = np.random.default_rng([populations.track.split_seed, 102, number])
    counts = {int(p): np.flatnonzero(auxiliary[:, 0] == p) for p in people}
    full = [p for p in people if len(counts[int(p)]) >= roles.seen + roles.unseen]
    full = list(rng.permutation(full))
    members = min(roles.members, 2 * len(full) // 3)
    if members < 10:
        raise FaceVeilError(
            f"track {populations.track.name!r}: {len(full)} auxiliary people with {roles.seen + roles.unseen} photos are too "
            "few for a shadow backbone (15 or more are needed). Use a larger data set or attacks with knowledge=partial."
        )
    rows, side = [], []
    for p in full[:members]:
        photos = rng.permutation(counts[int(p)])
        rows.append(photos[: roles.seen + roles.unseen])
        side.append(np.repeat([SEEN, UNSEEN], [roles.seen, roles.unseen]))
    for p in full[members : members + roles.members]:
        rows.append(rng.permutation(counts[int(p)])[: roles.unseen])
        side.append(np.full(roles.unseen, HELD_OUT))
    return AuxiliaryPeople(auxiliary[np.concatenate(rows)], np.concatenate(side))


@dataclass(frozen=True)
class Shadow:
    """A shadow backbone with the photos whose membership in it is known."""

    submission: Submission
    photos: Photos
    side: np.ndarray


class ShadowPool:
    """Shadows of one track on disk."""

    def __init__(self, populations: Populations, folder: Path, device: torch.device | str = "cpu") -> None:
        self.populations = populations
        self.folder = folder
        self.device = device

    def count(self, knowledge: Knowledge) -> int:
        """How many shadows the track's budget gives an attacker of this knowledge."""
        return self.populations.track.shadows.get(knowledge, 0)

    def auxiliary(
        self,
        defense: Defenses,
        backbone: BackboneSpec,
        *,
        init: Submission | None = None,
        progress: ProgressCallback | None = None,
    ) -> Iterator[Shadow]:
        """The auxiliary shadows of one defence, or of several composed, trained where missing, one at a time.

        Args:
            init: weights the target's training started from, where it is a fine-tuned one.
        """
        # The same shadow under one name, whether it is asked for by a track's short spec or by a card's complete one.
        size = self.populations.track.image_size
        backbone = BackboneSpec(name=backbone.name, kwargs=complete_kwargs(backbone.name, backbone.kwargs, (size, size)))
        composition = compose(defense)
        for number in range(self.count(Knowledge.AUXILIARY)):
            people = auxiliary_people(self.populations, number)
            photos = self.populations.source(people.pairs, f"shadow-{number}")
            path = self._path(composition, backbone, number, init)
            if not (path / "card.json").exists():
                make_submission(
                    self.populations,
                    composition.specs,
                    photos.take(np.flatnonzero(people.side == SEEN)),
                    seed=SHADOW_SEED + number,
                    out=path,
                    work=self.folder,
                    backbone=backbone,
                    init=init,
                    # a defence's public faces are never its own members: not those of the other shadows' trainings, then
                    public=self.populations.source(public_pairs(self.populations), "public"),
                    device=self.device,
                    progress=progress,
                )
            yield Shadow(load_submission(path), photos, people.side)

    def _path(self, defense: Composition, backbone: BackboneSpec, number: int, init: Submission | None) -> Path:
        name = content_hash(
            self.populations.track.settings("image_size", "roles", "split_seed", "head", "training", "fine_tuning"),
            self.populations.data_digest,
            self.populations.split_digest,
            backbone.model_dump(mode="json"),
            defense.key(),
            number,
            init.submission_id if init else None,
        )
        return self.folder / f"{defense.name}-{number}-{name}"
