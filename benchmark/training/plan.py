"""The trainings of several entries as one graph, so that all of them start together and none is done twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.populations import Populations, open_populations
from benchmark.data.procedural.faces import SyntheticFaces
from benchmark.interfaces import BackboneSpec, canonical_json
from benchmark.protocol.track import Track
from benchmark.runtime.graph import Node
from benchmark.submissions.package import is_packed
from benchmark.training.build import UNDEFENDED
from benchmark.training.composition import Composition, compose
from benchmark.training.population import BackboneRecipe, BackboneTraining, Population
from benchmark.training.shadows import ShadowPool, ShadowRecipe, ShadowTraining

SECONDS_A_PHOTO = 2e-3  # to draw one of 48 pixels, about
TRANSFORM = 0.03  # of a training: what a defence does to trained weights, at most a pass over some photos, about


@dataclass(frozen=True)
class DrawPhotos:
    """Draws the procedural photos of one role, so that the processes which train on them do not each do so."""

    track: Track
    cache: Path | None
    role: str

    def __call__(self) -> None:
        photos = getattr(open_populations(self.track, cache=self.cache), self.role)
        if isinstance(photos, SyntheticFaces):
            photos.draw()


class TrainingPlan:
    """Steps that train backbones, for :class:`benchmark.runtime.executor.Engine`.

    Defences that transform trained weights share a training with others, through its checkpoint: of those that share one, each
    waits for the one before.  What is on disk already is a cached step.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._last: dict[str, str] = {}  # of the steps that share a training

    @property
    def nodes(self) -> list[Node]:
        """In the order in which they were added, plain trainings first where they share one."""
        return list(self._nodes.values())

    @property
    def missing(self) -> list[Node]:
        """Trainings whose result is not on disk."""
        return [node for node in self.nodes if not node.cached and not isinstance(node.task, DrawPhotos)]

    def add_population(self, population: Population, recipes: Iterable[BackboneRecipe]) -> None:
        """Backbones of an entry; those that never see a member are one."""
        for recipe in recipes:
            path = population.path(recipe)
            label = f"{recipe.defense.label}, backbone {recipe.trained}"
            shared = self._shared(population, recipe.defense, recipe.backbone, f"population {recipe.trained}")
            task, done = BackboneTraining.of(population, recipe), is_packed(path)
            roles = ["queried"] * recipe.defense.trains_on_members + ["public"] * recipe.defense.uses_public()
            photos = () if done else tuple(filter(None, (self._drawn(population.populations, role) for role in roles)))
            self._add(str(path), task, shared, recipe, label, done, photos)

    def _drawn(self, populations: Populations, role: str) -> str | None:
        """The key of the step that draws a role's photos; None where they are there, or not drawn."""
        photos = getattr(populations, role)
        if not isinstance(photos, SyntheticFaces) or photos.drawn:
            return None
        key = f"photos {photos.digest}"
        if key not in self._nodes:
            track, seconds = populations.track, SECONDS_A_PHOTO * len(photos) * (populations.track.image_size / 48) ** 2
            task = DrawPhotos(track, populations.cache, role)
            self._nodes[key] = Node(key, task, (), f"draw {role} {track.name}", f"photos drawn, {role}", guess=seconds)
        return key

    def add_shadows(self, pool: ShadowPool, recipes: Iterable[ShadowRecipe]) -> None:
        """The attacker's shadows on public people."""
        for recipe in recipes:
            path = pool.path(recipe)
            label = f"{recipe.defense.label}, auxiliary shadow {recipe.number}"
            shared = self._shared(pool, recipe.defense, recipe.backbone, f"auxiliary {recipe.number}")
            self._add(str(path), ShadowTraining.of(pool, recipe), shared, recipe, label, is_packed(path))

    @staticmethod
    def _shared(where: Population | ShadowPool, defense: Composition, backbone: BackboneSpec, what: str) -> str:
        """Names the training that a backbone is made by, or made from."""
        trained, post_hoc = defense.split_post_hoc()
        made = defense if post_hoc is None else trained or compose(UNDEFENDED)
        return canonical_json([str(where.folder), made.key(), backbone.model_dump(mode="json"), what])

    def _add(
        self,
        key: str,
        task: BackboneTraining | ShadowTraining,
        shared: str,
        recipe: BackboneRecipe | ShadowRecipe,
        label: str,
        cached: bool,
        photos: tuple[str, ...] = (),
    ) -> None:
        if key in self._nodes:
            return
        trained = shared in self._last  # by the step before: what is left is to transform the weights
        needs = (*photos, *((self._last[shared],) if trained else ()))
        what = "transform" if trained else "train"
        kind = f"{what} {task.track.name} {recipe.backbone.name} {recipe.defense.name}"
        plain = 120 * task.track.budget.cpu_minutes  # seconds of a core: the budget is that of two
        self._nodes[key] = Node(key, task, needs, kind, label, cached, guess=plain * (TRANSFORM if trained else 1))
        self._last[shared] = key
