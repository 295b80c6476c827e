"""What is evaluated: the backbones of one entry, which of them are targets, and what their shadows were trained under.

A *verified* entry is a population: this installation trains every number of it from the defence's plug-in and configuration,
and each is a target in its turn.  Weights from outside are one target, judged on the canonical split; their shadows are the
other numbers of the population that the card's defence gives here or, where it is not known, the undefended one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from benchmark.data.populations import Populations
from benchmark.evaluation.verified import TrainedHere, all_known, check_plugins, trained_here
from benchmark.interfaces import FaceVeilError
from benchmark.runtime.executor import Engine, Status
from benchmark.runtime.progress import ProgressCallback
from benchmark.runtime.worker import hearing_epochs
from benchmark.submissions.submission import Submission
from benchmark.training.build import UNDEFENDED
from benchmark.training.plan import TrainingPlan
from benchmark.training.population import BackboneRecipe, Population

Board = Literal["verified", "weights"]
ShadowsOf = Literal["", "same_defense", "undefended"]


@dataclass(frozen=True)
class Entry:
    """``models`` by number, ``targets`` the numbers that are attacked, ``submission`` the one that stands for the entry."""

    models: tuple[Submission, ...]
    targets: tuple[int, ...]
    submission: Submission
    board: Board
    shadows: ShadowsOf


Tasks = Callable[[Status], None]


def nobody(_status: Status) -> None:
    """For callers that do not follow how far a graph is."""


def train_missing(
    population: Population,
    recipes: Sequence[BackboneRecipe],
    engine: Engine,
    step: Callable[[str], None],
    training: ProgressCallback | None = None,
    tasks: Tasks = nobody,
) -> None:
    """Trains those backbones that are not on disk yet, as many at once as the engine runs; an interrupted one resumes."""
    plan = TrainingPlan()
    plan.add_population(population, recipes)
    run_plan(plan, engine, step, training, tasks)


def run_plan(
    plan: TrainingPlan,
    engine: Engine,
    step: Callable[[str], None],
    training: ProgressCallback | None = None,
    tasks: Tasks = nobody,
) -> None:
    """Trains what is missing of a plan; ``training`` is called after every epoch that is trained in this process."""
    missing = len(plan.missing)
    if missing:
        step(f"training {missing} backbone{'s' * (missing > 1)}")
        with hearing_epochs(training):
            engine.run_graph(plan.nodes, tasks)


@dataclass(frozen=True)
class EntryMaker:
    """Turns a submission into an entry, training what of its population is missing.

    Args:
        cache: where populations are kept.
        init: the weights that a fine-tuned entry started from.
    """

    populations: Populations
    cache: Path
    device: torch.device | str = "cpu"
    init: Submission | None = None
    engine: Engine = field(default_factory=Engine)
    step: Callable[[str], None] = lambda _text: None
    training: ProgressCallback | None = None
    tasks: Tasks = nobody

    def of(self, submission: Submission) -> Entry:
        """The entry of one submission.

        Raises:
            FaceVeilError: the weights it was fine-tuned from are missing, or a plug-in that it was trained with here.
        """
        population, recipes, note, same = self._recipes(submission)
        number = note.number if note is not None else 0
        others = [recipe for k, recipe in enumerate(recipes) if k != number]
        train_missing(population, others, self.engine, self.step, self.training, self.tasks)
        models = [submission if k == number else population.submission(recipe) for k, recipe in enumerate(recipes)]
        whole = note is not None and submission.card.canaries is None  # with canaries it is one of its kind
        return Entry(
            models=tuple(models),
            targets=tuple(range(len(models))) if whole else (number,),
            submission=submission,
            board="verified" if note is not None else "weights",
            shadows="same_defense" if same else "undefended",
        )

    def add_to(self, plan: TrainingPlan, submission: Submission) -> None:
        """What of the entry's population has to be trained, as steps of a plan."""
        population, recipes, note, _ = self._recipes(submission)
        plan.add_population(population, [r for k, r in enumerate(recipes) if k != (note.number if note is not None else 0)])

    def _recipes(self, submission: Submission) -> tuple[Population, list[BackboneRecipe], TrainedHere | None, bool]:
        """The population, its backbones, which of them the submission is where it was trained here, and whether their
        defence is the submission's.
        """
        self._check_initial_weights(submission)
        check_plugins(self.cache, submission, self.populations)
        card, note = submission.card, trained_here(self.cache, submission, self.populations)
        same = note is not None or all_known(card)
        population = Population(self.populations, self.cache / "populations", self.device)
        if note is not None:
            recipes = population.recipes(card.defenses, note.backbone, self.init)
        elif same:
            recipes = population.recipes(card.defenses, card.backbone, self.init)
        else:
            recipes = population.recipes(UNDEFENDED, self.init.card.backbone if self.init else None, self.init)
        return population, recipes, note, same

    def _check_initial_weights(self, submission: Submission) -> None:
        start = submission.card.initialised_from
        if start and self.init is None:
            raise FaceVeilError(
                f"this submission was fine-tuned from {start!r}: pass those weights with --init, so that the attacker's shadow "
                "backbones start from them, too."
            )
