"""The attacker's own shadows: backbones on public people, trained under the target's defence, whose membership is known.

Trained once per (track, backbone, defence, number), by content hash, and read from disk one at a time.  They are the weaker
attacker's; the stronger one has the other backbones of the target's population (see :mod:`benchmark.training.population`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmark.data.populations import HELD_OUT, SEEN, UNSEEN, Populations
from benchmark.interfaces import BackboneSpec, FaceVeilError, Photos, content_hash
from benchmark.models.backbones import complete_kwargs
from benchmark.models.normalisation import unfolded
from benchmark.runtime.executor import Engine
from benchmark.runtime.progress import ProgressCallback
from benchmark.submissions.cached import keep, kept
from benchmark.submissions.package import is_packed
from benchmark.submissions.submission import Submission
from benchmark.training.build import UNDEFENDED, make_submission
from benchmark.training.composition import Defenses, compose
from benchmark.training.recipes import Recipe, RecipeTask

REFERENCE_SHARE = 0.2  # of the auxiliary people: never in a shadow's training, kept to estimate statistics on
SHADOW_SEED = 1_000_000  # keeps shadows apart from the seeds of entries


@dataclass(frozen=True)
class AuxiliaryPeople:
    """How one auxiliary shadow plays the target's game with public people."""

    pairs: np.ndarray  # (n, 2) identity, photo
    side: np.ndarray  # (n,) SEEN, UNSEEN, HELD_OUT


def reference_pairs(populations: Populations) -> np.ndarray:
    """Photos of the auxiliary people that no shadow trains on, for re-estimating statistics."""
    reference, _ = _partition(populations)
    auxiliary = populations.split.auxiliary
    return auxiliary[np.isin(auxiliary[:, 0], reference)]


def _partition(populations: Populations) -> tuple[np.ndarray, np.ndarray]:
    people = np.unique(populations.split.auxiliary[:, 0])
    people = np.random.default_rng([populations.track.split_seed, 101]).permutation(people)
    cut = round(REFERENCE_SHARE * len(people))
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
    full = [p for p in people if len(counts[int(p)]) >= roles.photos]
    full = list(rng.permutation(full))
    members = min(roles.members, 2 * len(full) // 3)
    if members < 10:
        raise FaceVeilError(
            f"track {populations.track.name!r}: {len(full)} auxiliary people with {roles.photos} photos are too "
            "few for a shadow backbone (15 or more are needed). Use a larger data set or attacks with knowledge=partial."
        )
    rows, side = [], []
    for p in full[:members]:
        photos = rng.permutation(counts[int(p)])
        rows.append(photos[: roles.photos])
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


@dataclass(frozen=True)
class ShadowRecipe(Recipe):
    """The recipe of one shadow."""

    @property
    def seed(self) -> int:
        """Of its training: apart from the seeds of entries and of other shadows."""
        return SHADOW_SEED + self.number


@dataclass(frozen=True)
class ShadowTraining(RecipeTask):
    """The training of one shadow."""

    def train(self, populations: Populations, recipe: Recipe) -> None:
        """Trains it."""
        own = ShadowRecipe(recipe.number, recipe.defense, recipe.backbone, recipe.init)
        ShadowPool(populations, self.folder, self.device).trained(own)


class ShadowPool:
    """Shadows of one track on disk."""

    def __init__(self, populations: Populations, folder: Path, device: torch.device | str = "cpu") -> None:
        self.populations = populations
        self.folder = folder
        self.device = device

    def recipes(self, defense: Defenses, backbone: BackboneSpec, init: Submission | None = None) -> list[ShadowRecipe]:
        """The shadows that the track's budget allows.

        The same shadow has one name, whether it is asked for by a track's short spec or by a card's complete one.

        Args:
            init: weights the target's training started from, where it is a fine-tuned one.
        """
        size = self.populations.track.image_size
        backbone = BackboneSpec(name=backbone.name, kwargs=complete_kwargs(backbone.name, backbone.kwargs, (size, size)))
        count, composition = self.populations.track.shadows.auxiliary, compose(defense)
        return [ShadowRecipe(number, composition, backbone, init) for number in range(count)]

    def undefended(self, init: Submission | None = None) -> list[ShadowRecipe]:
        """The attacker's own backbone of public people, without a defence; the blind gate asks it, too.

        It starts from the weights ``init`` where the track always starts from some, else from scratch.  Empty where the track's
        budget has no such backbone.
        """
        start = init if self.populations.track.needs_init else None
        return self.recipes(UNDEFENDED, start.card.backbone if start else self.populations.track.backbone, start)[:1]

    def auxiliary(
        self,
        defense: Defenses,
        backbone: BackboneSpec,
        *,
        init: Submission | None = None,
        progress: ProgressCallback | None = None,
    ) -> Iterator[Shadow]:
        """The shadows on public people, trained where missing, one at a time."""
        for recipe in self.recipes(defense, backbone, init):
            people = auxiliary_people(self.populations, recipe.number)
            photos = self.populations.source(people.pairs, f"shadow-{recipe.number}")
            yield Shadow(self.trained(recipe, progress), photos, people.side)

    def trained(self, recipe: ShadowRecipe, progress: ProgressCallback | None = None) -> Submission:
        """One shadow, trained now where it is not on disk."""
        path = self.path(recipe)
        if (found := kept(path)) is not None:
            return found
        made = make_submission(
            self.populations,
            recipe.defense.specs,  # built anew: a defence may keep what it learnt
            self._training_photos(recipe),
            seed=recipe.seed,
            out=path,
            work=self.folder,
            backbone=unfolded(recipe.backbone),  # what is folded at release was trained with BatchNorm
            init=recipe.init,
            device=self.device,
            progress=progress,
        )
        return keep(made)

    def train_missing(self, recipes: Sequence[ShadowRecipe], engine: Engine, step: Callable[[str], None]) -> None:
        """Trains those that are not on disk yet, wherever the engine runs tasks; an interrupted one resumes."""
        missing = [recipe for recipe in recipes if not is_packed(self.path(recipe))]
        if len(missing) <= 1:
            return  # trained when it is read, with its own progress
        tasks = [ShadowTraining.of(self, recipe) for recipe in missing]
        step(f"training {len(missing)} shadow backbones")
        engine.run(tasks, lambda count: step(f"shadow backbone {count}/{len(missing)} trained"))

    def _training_photos(self, recipe: ShadowRecipe) -> Photos:
        people = auxiliary_people(self.populations, recipe.number)
        return self.populations.source(people.pairs[people.side == SEEN], f"shadow-{recipe.number}")

    def path(self, recipe: ShadowRecipe) -> Path:
        """Its folder, named by all that it depends on."""
        name = content_hash(
            self.populations.track.settings("image_size", "roles", "split_seed", "head", "training", "fine_tuning"),
            self.populations.data_digest,
            self.populations.split_digest,
            recipe.backbone.model_dump(mode="json"),
            recipe.defense.key(),
            recipe.number,
            recipe.init.submission_id if recipe.init else None,
        )
        return self.folder / f"{recipe.defense.name}-{recipe.number}-{name}"
