"""What the weights of one backbone or shadow depend on, and its training as a task for another process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import torch

from benchmark.data.populations import Populations, open_populations
from benchmark.interfaces import BackboneSpec, DefenseSpec
from benchmark.protocol.registry import load_plugin_file, plugin_files
from benchmark.protocol.track import Track
from benchmark.submissions.submission import Submission, load_submission
from benchmark.training.composition import Composition, compose


@dataclass(frozen=True)
class Recipe:
    """Everything that one backbone's weights depend on, beside the photos of the track."""

    number: int
    defense: Composition
    backbone: BackboneSpec
    init: Submission | None = None


class Owner(Protocol):
    """Whoever keeps trained backbones in a folder: a population, or a pool of shadows."""

    populations: Populations
    folder: Path
    device: torch.device | str


@dataclass(frozen=True)
class RecipeTask:
    """The training of one recipe as a task for another process: opens the photos again and writes to the same folder."""

    track: Track
    data: Path | None
    cache: Path | None
    public: Path | None
    folder: Path
    device: str
    number: int
    defense: tuple[DefenseSpec, ...]
    backbone: BackboneSpec
    init: Path | None
    plugins: tuple[Path, ...]

    @classmethod
    def of(cls, owner: Owner, recipe: Recipe) -> Self:
        """The task of a recipe."""
        p = owner.populations
        return cls(
            p.track, p.data, p.cache, p.public_data, owner.folder, str(owner.device), recipe.number,
            recipe.defense.specs, recipe.backbone, recipe.init.path if recipe.init else None, plugin_files(),
        )  # fmt: skip

    def __call__(self) -> None:
        """Trains, unless it is there already."""
        for path in self.plugins:
            load_plugin_file(path)
        populations = open_populations(self.track, self.data, self.cache, self.public)
        init = load_submission(self.init) if self.init else None
        self.train(populations, Recipe(self.number, compose(self.defense), self.backbone, init))

    def train(self, populations: Populations, recipe: Recipe) -> None:
        """Trains the recipe, as the owner of that kind does."""
        raise NotImplementedError
