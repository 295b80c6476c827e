"""The population of an entry: K backbones of one configuration, each on its own random half of the pool.

Every backbone is a target in its turn and a shadow of the others, so that the attacker's shadows know the defence.  Weights
are kept by all that they depend on; defences that only change trained weights share the trainings of those that they build on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.data.populations import Populations
from benchmark.interfaces import BackboneSpec, content_hash
from benchmark.models.backbones import complete_kwargs
from benchmark.models.normalisation import unfolded
from benchmark.runtime.progress import ProgressCallback
from benchmark.runtime.worker import note_epoch
from benchmark.submissions.cached import keep, kept
from benchmark.submissions.package import is_packed
from benchmark.submissions.submission import Submission
from benchmark.training.build import make_submission, training_track
from benchmark.training.composition import Defenses, compose
from benchmark.training.recipes import Recipe, RecipeTask


@dataclass(frozen=True)
class BackboneRecipe(Recipe):
    """The recipe of one backbone of a population."""

    @property
    def trained(self) -> int:
        """The number whose weights these are: 0 for all backbones that never see a member, who are one backbone."""
        return self.number if self.defense.trains_on_members else 0


class Population:
    """The backbones of a track's entries on disk.

    Args:
        folder: where they are kept, with the trainings that post-hoc defences share.
    """

    def __init__(self, populations: Populations, folder: Path, device: torch.device | str = "cpu") -> None:
        self.populations = populations
        self.folder = folder
        self.device = device

    def recipes(
        self, defense: Defenses, backbone: BackboneSpec | None = None, init: Submission | None = None
    ) -> list[BackboneRecipe]:
        """The backbones 0..K-1 of an entry, K being the track's ``population``.

        The same backbone has one name, whether it is asked for by a track's short spec or by a card's complete one.

        Args:
            backbone: instead of the track's, or of that of ``init``.
            init: weights that training starts from.
        """
        track = self.populations.track
        size = (track.image_size, track.image_size)
        spec = backbone or training_track(track, None, init).backbone
        spec = unfolded(BackboneSpec(name=spec.name, kwargs=complete_kwargs(spec.name, spec.kwargs, size)))
        composition = compose(defense)
        return [BackboneRecipe(number, composition, spec, init) for number in range(track.population)]

    def path(self, recipe: BackboneRecipe) -> Path:
        """Its folder, named by all that its weights depend on."""
        own = self.populations.numbered(recipe.trained)
        public = self.populations.public
        name = content_hash(
            own.track.settings("name", "version", "image_size", "camera", "head", "training", "fine_tuning"),
            own.seen.digest if recipe.defense.trains_on_members else None,
            public.digest if public is not None and recipe.defense.uses_public() else None,
            recipe.backbone.model_dump(mode="json"),
            recipe.defense.key(),
            recipe.trained,
            recipe.init.submission_id if recipe.init else None,
        )
        return self.folder / f"{recipe.defense.name}-{recipe.trained}-{name}"

    def missing(self, recipes: Sequence[BackboneRecipe]) -> list[BackboneRecipe]:
        """Those that are not on disk yet, each folder once."""
        wanted = {self.path(recipe): recipe for recipe in recipes}
        return [recipe for path, recipe in wanted.items() if not is_packed(path)]

    def tasks(self, recipes: Sequence[BackboneRecipe]) -> list[BackboneTraining]:
        """Their trainings, for :class:`benchmark.runtime.executor.Engine`; an interrupted one resumes."""
        return [BackboneTraining.of(self, recipe) for recipe in recipes]

    def submission(self, recipe: BackboneRecipe, progress: ProgressCallback | None = None) -> Submission:
        """One backbone, trained now where it is not on disk."""
        path = self.path(recipe)
        if (found := kept(path)) is not None:
            return found
        own = self.populations.numbered(recipe.trained)
        made = make_submission(
            own,
            recipe.defense.specs,  # built anew: a defence may keep what it learnt
            own.seen,
            seed=recipe.trained,
            out=path,
            work=self.folder,
            backbone=recipe.backbone,
            init=recipe.init,
            device=self.device,
            card={"number": recipe.trained},
            progress=progress,
        )
        return keep(made)


@dataclass(frozen=True)
class BackboneTraining(RecipeTask):
    """The training of one backbone of a population."""

    def train(self, populations: Populations, recipe: Recipe) -> None:
        """Trains it, with the epochs noted for whoever waits."""
        own = BackboneRecipe(recipe.number, recipe.defense, recipe.backbone, recipe.init)
        Population(populations, self.folder, self.device).submission(own, note_epoch)
