"""The trainings of several entries as one graph, so that all of them start together and none is done twice."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.interfaces import BackboneSpec, canonical_json
from benchmark.runtime.graph import Node
from benchmark.training.build import UNDEFENDED
from benchmark.training.composition import Composition, compose
from benchmark.training.population import BackboneRecipe, BackboneTraining, Population
from benchmark.training.shadows import ShadowPool, ShadowRecipe, ShadowTraining


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
        """Those whose result is not on disk."""
        return [node for node in self.nodes if not node.cached]

    def add_population(self, population: Population, recipes: Iterable[BackboneRecipe]) -> None:
        """Backbones of an entry; those that never see a member are one."""
        for recipe in recipes:
            path = population.path(recipe)
            label = f"{recipe.defense.label}, backbone {recipe.trained}"
            shared = self._shared(population, recipe.defense, recipe.backbone, f"population {recipe.trained}")
            self._add(str(path), BackboneTraining.of(population, recipe), shared, recipe, label, (path / "card.json").exists())

    def add_shadows(self, pool: ShadowPool, recipes: Iterable[ShadowRecipe]) -> None:
        """The attacker's shadows on public people."""
        for recipe in recipes:
            path = pool.path(recipe)
            label = f"{recipe.defense.label}, auxiliary shadow {recipe.number}"
            shared = self._shared(pool, recipe.defense, recipe.backbone, f"auxiliary {recipe.number}")
            self._add(str(path), ShadowTraining.of(pool, recipe), shared, recipe, label, (path / "card.json").exists())

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
    ) -> None:
        if key in self._nodes:
            return
        needs = (self._last[shared],) if shared in self._last else ()
        kind = f"train {task.track.name} {recipe.backbone.name} {recipe.defense.name}"
        self._nodes[key] = Node(key, task, needs, kind, label, cached)
        self._last[shared] = key
