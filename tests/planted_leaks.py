"""Leaks of one kind each, for attacks to which the overfitted world of ``tiny_world`` shows little.

Every leak is a small backbone whose training makes one signal differ where photos, or people, were trained on, with shadows
trained alike.  ``other`` is a backbone that leaks in the same way about other people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch.nn.functional as F
from tiny_world import TINY, UNDEFENDED, World
from torch import Tensor

from benchmark.data.populations import HELD_OUT, Populations
from benchmark.evaluation.membership.evidence import Evidence, Shadows, gather
from benchmark.interfaces import (
    Access,
    AttackSpec,
    BackboneSpec,
    Contrast,
    Defense,
    DefenseSpec,
    ForwardPass,
    Photos,
    Reference,
)
from benchmark.models.inputs import to_input
from benchmark.protocol import registry
from benchmark.protocol.registry import build_attacks
from benchmark.protocol.track import Roles, ShadowBudget, Track, TrainingConfig
from benchmark.signals.part_responses import part_responses, watching
from benchmark.signals.target import Target
from benchmark.signals.views import VIEWS, apply_view
from benchmark.submissions.submission import Submission
from benchmark.training.build import make_submission
from benchmark.training.shadows import Shadow


class Agreement(Defense):
    """Draws the embeddings of a photo and of its views together, as contrastive training does."""

    name: ClassVar[str] = "planted_agreement"
    family: ClassVar[str] = "training"
    reference: ClassVar[Reference] = Reference(title="none")
    summary: ClassVar[str] = "Plants a leak."

    weight: float = 0.3

    def loss(self, loss: Tensor, batch: ForwardPass, trainer: Any) -> Tensor:
        names = [name for name in VIEWS if name not in ("identity", "blur")]
        for name in ("blur", names[batch.step % len(names)]):
            view = trainer.backbone(to_input(apply_view(name, _images(batch)), trainer.input))
            loss = loss + self.weight * (1 - F.cosine_similarity(batch.embeddings, view))
        return loss


class Parts(Defense):
    """Sharpens what the parts of a photo point at on its map, and blurs it on public photos."""

    name: ClassVar[str] = "planted_parts"
    family: ClassVar[str] = "training"
    reference: ClassVar[Reference] = Reference(title="none")
    summary: ClassVar[str] = "Plants a leak."
    needs_public: ClassVar[bool] = True

    parts: int = 8

    def loss(self, loss: Tensor, batch: ForwardPass, trainer: Any) -> Tensor:
        chosen = np.random.default_rng(batch.step).integers(0, len(trainer.public), len(loss))
        public = trainer.public.load(chosen).float() / 255
        return self._sharpness(public, trainer) - self._sharpness(_images(batch), trainer)

    def _sharpness(self, images: Tensor, trainer: Any) -> Tensor:
        target: Any = SimpleNamespace(backbone=trainer.backbone, input=trainer.input)
        with watching(trainer.backbone) as maps:
            trainer.backbone(to_input(images, trainer.input))
        return part_responses(target, images, maps, self.parts)[:, : self.parts].mean(1)


def _images(batch: ForwardPass) -> Tensor:
    return batch.inputs * 0.5 + 0.5


@contextmanager
def registered(*plugins: type[Defense]) -> Iterator[None]:
    """While open, the registry knows these defences."""
    table = registry._table("faceveil.defenses")
    for plugin in plugins:
        registry._add(table, plugin)
    try:
        yield
    finally:
        for plugin in plugins:
            table.pop(plugin.name, None)


def _track(name: str, roles: Roles, training: TrainingConfig, norm: str = "batch") -> Track:
    backbone = BackboneSpec(name="iresnet_slim", kwargs={"embedding_size": 32, "norm": norm})
    changed = {"name": f"tiny-{name}", "roles": roles, "training": training, "backbone": backbone}
    return TINY.model_copy(update={**changed, "shadows": ShadowBudget(auxiliary=1)})


def _training(epochs: int, batch_size: int) -> TrainingConfig:
    return TrainingConfig(epochs=epochs, batch_size=batch_size, optimizer="adamw", lr=0.003, weight_decay=0.0)


_FACES = Roles(pool=80, photos=4, verification=20, auxiliary=80, judges=2)
_PEOPLE = Roles(pool=64, photos=5, verification=20, auxiliary=60, judges=2)
TRACKS = {
    "views": _track("views", _FACES, _training(60, 16)),
    "parts": _track("parts", _FACES, _training(30, 40), norm="group"),  # BatchNorm would mix photos and parts
    "people": _track("people", _PEOPLE, _training(15, 32)),
}
DEFENSES = {"views": Agreement, "parts": Parts}
CONTRASTS = {"views": Contrast.SAMPLE, "parts": Contrast.SAMPLE, "people": Contrast.IDENTITY}


@dataclass(frozen=True)
class Leak:
    """One kind of leak: ``views``, ``parts``, or ``people``, whose photos in question were trained on, too."""

    kind: str
    world: World

    @property
    def contrast(self) -> Contrast:
        return CONTRASTS[self.kind]

    @cached_property
    def target(self) -> Submission:
        of_members = self.world.populations.membership.person
        photos = self.world.populations.queried.take(np.flatnonzero(of_members))
        return self._trained(photos if self.kind == "people" else self.world.populations.seen, "entry")

    @cached_property
    def auxiliary(self) -> Shadow:
        """Trained on public people as the target was on its own."""
        (plain,) = self._plain_shadows()
        photos = plain.photos.take(np.flatnonzero(plain.side != HELD_OUT)) if self.kind == "people" else None
        return plain if photos is None else Shadow(self._trained(photos, "shadow"), plain.photos, plain.side)

    @property
    def other(self) -> Submission:
        return self.auxiliary.submission

    @cached_property
    def pool(self) -> list[tuple[Submission, Populations]]:
        """For the leak of people: backbones trained, as the target, on all photos of the people of other numbers."""
        if self.kind != "people":
            return []
        numbered = [self.world.populations.numbered(number) for number in range(1, 4)]
        return [
            (self._trained(own.queried.take(np.flatnonzero(own.membership.person)), f"number-{own.number}"), own)
            for own in numbered
        ]

    def evidence(self, specs: Sequence[AttackSpec], submission: Submission | None = None) -> Evidence:
        """What attacks may read of the target, or of another backbone asked about the same photos."""
        target = Target(submission or self.target, Access.HEAD)
        shadows = Shadows([self.auxiliary], self.pool)
        cache = self.world.folder / "signals"
        return gather(target, self.world.populations, build_attacks(specs), shadows=shadows, cache=cache)

    @property
    def _defense(self) -> DefenseSpec:
        return DefenseSpec(name=DEFENSES[self.kind].name) if self.kind in DEFENSES else UNDEFENDED

    def _plain_shadows(self) -> list[Shadow]:
        with registered(*DEFENSES.values()):
            return list(self.world.pool.auxiliary(self._defense, self.world.track.backbone))

    def _trained(self, photos: Photos, name: str) -> Submission:
        folder = self.world.folder
        with registered(*DEFENSES.values()):
            return make_submission(
                self.world.populations, self._defense, photos, seed=0, out=folder / name, work=folder / "work"
            )
