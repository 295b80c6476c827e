"""Tracks small enough for tests, on procedural faces of 32 pixels.

``TINY`` plants a leak: few people, two seen photos each, a net that is wide for them and a head whose loss falls with the
length of the embedding, so that seen photos stand apart in every signal.  ``FLOW`` runs from end to end in seconds and
shows nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmark.data.populations import Populations, open_populations
from benchmark.evaluation.entry import Entry
from benchmark.evaluation.membership.evidence import Evidence, Shadows, gather
from benchmark.interfaces import Access, AttackSpec, BackboneSpec, DefenseSpec
from benchmark.protocol.registry import build_attacks
from benchmark.protocol.track import Budget, HeadSpec, Roles, ShadowBudget, Track, TrainingConfig
from benchmark.protocol.tracks import TRACKS
from benchmark.signals.target import Target
from benchmark.submissions.submission import Submission, load_submission
from benchmark.training.build import make_submission
from benchmark.training.population import Population
from benchmark.training.shadows import Shadow, ShadowPool

UNDEFENDED = DefenseSpec(name="undefended")

TINY = Track(
    name="tiny",
    summary="Overfits in seconds: a planted leak.",
    source="synthetic",
    image_size=32,
    roles=Roles(pool=160, photos=4, verification=45, public=30, auxiliary=100, judges=4),
    public_domain="studio",
    population=4,
    backbone=BackboneSpec(name="iresnet_slim", kwargs={"embedding_size": 32}),
    head=HeadSpec(name="softmax", margin=0.0),
    training=TrainingConfig(epochs=30, batch_size=32, optimizer="adamw", lr=0.003),
    partial_share=0.5,
    shadows=ShadowBudget(auxiliary=1),
    attacks=(AttackSpec(name="bn_distance"), AttackSpec(name="regrown_head")),
    budget=Budget(cpu_minutes=0.2),
    conclusive=False,
)

FLOW = Track(
    name="tiny-flow",
    summary="Every step in seconds: too small to show anything.",
    source="synthetic",
    image_size=32,
    roles=Roles(pool=24, photos=4, verification=40, public=12, auxiliary=20, judges=2),
    public_domain="studio",
    population=3,
    backbone=BackboneSpec(name="iresnet_slim", kwargs={"width": 0.125, "embedding_size": 16}),
    head=HeadSpec(name="softmax", margin=0.0),
    training=TrainingConfig(epochs=2, batch_size=12, lr=0.05),
    partial_share=0.5,
    shadows=ShadowBudget(auxiliary=1),
    attacks=(
        AttackSpec(name="bn_distance"),
        AttackSpec(name="bn_distance", settings={"knowledge": "auxiliary"}),
        AttackSpec(name="embedding_norm"),
        AttackSpec(name="regrown_head"),
    ),
    budget=Budget(cpu_minutes=0.1),
    conclusive=False,
)


@dataclass(frozen=True)
class World:
    """A track's photos, an undefended backbone trained on its members, and an auxiliary shadow; files in ``folder``."""

    track: Track
    folder: Path

    @cached_property
    def populations(self) -> Populations:
        return open_populations(self.track, cache=self.folder / "photos")

    def train(self, defense: DefenseSpec = UNDEFENDED, *, seed: int = 0, name: str = "entry") -> Submission:
        """A submission trained on the members' seen photos."""
        return make_submission(
            self.populations, defense, self.populations.seen, seed=seed, out=self.folder / name, work=self.folder / "work"
        )

    @cached_property
    def submission(self) -> Submission:
        folder = self.folder / "entry"
        return load_submission(folder) if folder.exists() else self.train()

    def shadows(self) -> Iterable[Shadow]:
        """The undefended auxiliary shadows, trained when first asked for."""
        return self.pool.auxiliary(UNDEFENDED, self.track.backbone)

    @property
    def pool(self) -> ShadowPool:
        return ShadowPool(self.populations, self.folder / "shadows")

    def models(self) -> list[Submission]:
        """The undefended population: number 0 is :attr:`submission`, the others are trained when first asked for."""
        population = Population(self.populations, self.folder / "populations")
        return [self.submission, *(population.submission(r) for r in population.recipes(UNDEFENDED)[1:])]

    def others(self) -> Iterable[tuple[Submission, Populations]]:
        """The shadows of number 0, each with what it was trained on."""
        return ((model, self.populations.numbered(k)) for k, model in enumerate(self.models()) if k)

    def all_shadows(self) -> Shadows:
        """The auxiliary shadows and the others of the population."""
        return Shadows(self.shadows(), self.others())

    def entry(self) -> Entry:
        """The whole population as a verified entry."""
        models = tuple(self.models())
        return Entry(models, tuple(range(len(models))), models[0], "verified", "same_defense")

    def evidence(self, specs: Sequence[AttackSpec], submission: Submission | None = None) -> Evidence:
        """What attacks may read of ``submission`` (default: the one trained here)."""
        target = Target(submission or self.submission, Access.HEAD)
        return gather(target, self.populations, build_attacks(specs), shadows=self.all_shadows(), cache=self.folder / "signals")


def command() -> list[str]:
    """``faceveil`` with the two tracks beside its own, as the start of a command line for another process."""
    here = str(Path(__file__).parent)
    # appended, because tests/benchmark would hide the package
    code = f"import sys; sys.path.append({here!r}); import tiny_world; tiny_world.main()"
    return [sys.executable, "-c", code]


def main() -> None:
    """What :func:`command` runs."""
    from benchmark.cli import main as faceveil

    TRACKS.update({track.name: track for track in (TINY, FLOW)})
    faceveil()
