"""Several defences as one: the stages of all members, in the order in which they are named.

``norm_swap+distillation`` prepares with both, trains under the one that owns the loop, releases in order and chains the
inference transforms.  What contradicts itself is refused with its reason before anything is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar

import torch
from pydantic import SerializeAsAny
from torch import nn

from benchmark.interfaces import (
    AttackSpec,
    BackboneSpec,
    Batch,
    Defense,
    DefenseSpec,
    ForwardPass,
    Reference,
    ReleaseContext,
    TrainerProtocol,
)
from benchmark.protocol import registry
from benchmark.training.compatibility import CompositionError, check_members, overrides

PLUS = "+"


def parse_defenses(text: str, settings: Mapping[str, Any]) -> tuple[DefenseSpec, ...]:
    """The specs of ``norm_swap+distillation`` with settings such as ``{"distillation.temperature": 4}``.

    The plug-in's name before the point can be left out where one defence is named.

    Raises:
        CompositionError: an empty name, or a setting that does not say whose it is.
    """
    names = [part.strip() for part in text.split(PLUS)]
    if not all(names):
        raise CompositionError(f"--defense {text!r}: a name is missing beside a '+'; write one such as norm_swap+distillation.")
    given: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in settings.items():
        owner, point, setting = key.rpartition(".")
        if not point and len(names) > 1:
            examples = " or ".join(f"{name}.{setting}" for name in names)
            raise CompositionError(f"setting {key!r} does not say whose it is among {text}: write {examples}.")
        if point and owner not in given:
            raise CompositionError(f"setting {key!r} is for {owner!r}, which is not among the defences {', '.join(names)}.")
        given[owner or names[0]][setting] = value
    return tuple(DefenseSpec(name=name, settings=given[name]) for name in names)


def specs_of(defenses: Defenses) -> tuple[DefenseSpec, ...]:
    """The specs as their maker wrote them; those of a composition hold every setting."""
    if isinstance(defenses, Composition):
        return defenses.specs
    return (defenses,) if isinstance(defenses, DefenseSpec) else tuple(defenses)


def compose(defenses: Defenses) -> Composition:
    """The composition that specs name; one spec makes a composition of one, and a composition stays what it is.

    Raises:
        FaceVeilError: an unknown defence, settings out of range, or members that contradict each other.
    """
    if isinstance(defenses, Composition):
        return defenses
    specs = specs_of(defenses)
    if not specs:
        raise CompositionError("no defence is named; the plain training is called undefended.")
    composition = Composition(members=tuple(registry.build_defense(spec) for spec in specs))
    check_members(composition.members)
    return composition


class Composition(Defense):
    """Defences that act as one defence."""

    summary: ClassVar[str] = "Several defences, each in its stages."
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    family: ClassVar[str] = "composition"

    members: tuple[SerializeAsAny[Defense], ...]

    @property
    def name(self) -> str:  # type: ignore[override]
        """The members' names."""
        return PLUS.join(m.name for m in self.members)

    @property
    def needs_public(self) -> bool:  # type: ignore[override]
        """Whether any member needs public faces as it is configured."""
        return any(m.uses_public() for m in self.members)

    @property
    def trains_on_members(self) -> bool:  # type: ignore[override]
        """Whether members' photos reach the backbone: not where a member leaves them alone."""
        return all(m.trains_on_members for m in self.members)

    @property
    def specs(self) -> tuple[DefenseSpec, ...]:
        """The members with every setting, as a card names them."""
        return tuple(DefenseSpec(name=m.name, settings=m.settings()) for m in self.members)

    @property
    def label(self) -> str:
        """The members with those settings that are not the defaults."""
        return label(self.specs)

    def split_post_hoc(self) -> tuple[Composition | None, Composition | None]:
        """The members that shape the training, and the last ones, which only change trained weights; None for none."""
        count = len(self.members)
        while count and self.members[count - 1].post_hoc:
            count -= 1
        parts = (self.members[:count], self.members[count:])
        first, last = (Composition(members=part) if part else None for part in parts)
        return first, last

    def plugin_files(self) -> dict[str, str]:
        """sha256 of the files of those members that came from outside the project, by name."""
        digests = {m.name: registry.plugin_file_digest(m.name) for m in self.members}
        return {name: digest for name, digest in digests.items() if digest}

    def key(self) -> Any:
        """JSON data for the names of what depends on this defence."""
        specs = [spec.model_dump(mode="json") for spec in self.specs]
        files = self.plugin_files()
        plain = specs[0] if len(specs) == 1 else specs
        return [plain, files] if files else plain

    # The stages

    def check(self, backbone: BackboneSpec, photos: int) -> None:
        for member in self.members:
            member.check(backbone, photos)

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        return reduce(lambda spec, m: m.prepare(spec), self.members, backbone)

    def configure(self, config: Any) -> Any:
        return reduce(lambda c, m: m.configure(c), self.members, config)

    def modules(self, trainer: TrainerProtocol) -> Mapping[str, nn.Module]:
        return {name: module for m in self.members for name, module in m.modules(trainer).items()}

    def watched(self, backbone: nn.Module) -> Sequence[str]:
        return tuple(dict.fromkeys(name for m in self.members for name in m.watched(backbone)))

    def transform_batch(self, batch: Batch, trainer: TrainerProtocol) -> Batch:
        return reduce(lambda b, m: m.transform_batch(b, trainer), self.members, batch)

    def embed(self, embeddings: torch.Tensor, batch: Batch, trainer: TrainerProtocol) -> torch.Tensor:
        return reduce(lambda e, m: m.embed(e, batch, trainer), self.members, embeddings)

    def loss(self, loss: torch.Tensor, batch: ForwardPass, trainer: TrainerProtocol) -> torch.Tensor:
        return reduce(lambda value, m: m.loss(value, batch, trainer), self.members, loss)

    def fit(self, trainer: TrainerProtocol) -> None:
        owner = next((m for m in self.members if overrides(m, "fit")), None)
        if owner is None:
            super().fit(trainer)
        else:
            owner.fit(trainer)

    def release(self, backbone: nn.Module, context: ReleaseContext) -> nn.Module:
        return reduce(lambda b, m: m.release(b, context).eval(), self.members, backbone)

    def released_spec(self, backbone: BackboneSpec) -> BackboneSpec:
        return reduce(lambda spec, m: m.released_spec(spec), self.members, backbone)

    def inference(self) -> dict[str, Any] | None:
        steps = [t for m in self.members if (t := m.inference()) is not None]
        if len(steps) > 1:
            return {"kind": "chain", "steps": steps}
        return steps[0] if steps else None

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Those of all members, each once."""
        return tuple({s.label: s for m in self.members for s in m.adaptive_attacks()}.values())


Defenses = DefenseSpec | Sequence[DefenseSpec] | Composition


def label(specs: Sequence[DefenseSpec]) -> str:
    """Short text for defences: names, with the settings that differ from the defaults where the defence is known here."""
    known = registry.defenses()
    named = (registry.canonical(s, registry.build_defense(s)) if s.name in known else s for s in specs)
    return " + ".join(s.label for s in named)
