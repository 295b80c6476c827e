"""Defences that cannot work together, or not on this backbone, head or track: refused before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import nn

from benchmark.interfaces import TRAINING_STAGES, BackboneSpec, Defense, FaceVeilError, canonical_json
from benchmark.models import backbones
from benchmark.models.heads import couples_samples
from benchmark.models.normalisation import batchnorms


class CompositionError(FaceVeilError):
    """Defences that cannot work together, or not on this backbone or track."""


def overrides(plugin: Defense, stage: str) -> bool:
    """True where a defence has a stage of its own."""
    return getattr(type(plugin), stage) is not getattr(Defense, stage)


def check_members(members: Sequence[Defense]) -> None:
    """Refuses members that contradict each other, whatever they are trained on.

    Raises:
        CompositionError: with the reason.
    """
    for reason in _contradictions(members):
        raise CompositionError(f"{' + '.join(m.name for m in members)}: {reason}")


def check_setting(
    members: Sequence[Defense], backbone: BackboneSpec, *, photos: int, head: str, public: int, initialised: bool = False
) -> None:
    """Refuses members that cannot be trained on this backbone, with this many photos, under this head.

    Args:
        backbone: before any ``prepare``.
        photos: how many will be trained on.
        head: its name in :mod:`benchmark.models.heads`.
        public: how many public people there are.
        initialised: training starts from given weights.

    Raises:
        FaceVeilError: with the reason and what to do instead.
    """
    for m in members:
        if m.uses_public() and not public and (m.trains_on_members or not initialised):
            raise CompositionError(
                f"{m.name} needs public faces and this track has none: choose one with public people, or pass --public PATH."
            )
        if m.family == "dp" and couples_samples(head):
            raise CompositionError(
                f"{m.name} clips every photo's gradient, and the {head} head couples the photos of a batch: no guarantee would "
                "hold. Choose the softmax, cosface or arcface head."
            )
    if backbone.kwargs.get("norm") == "folded":
        raise CompositionError("norm=folded is what bn_folding releases; it is trained with BatchNorm: leave the norm out.")
    _check_batchnorm(members, backbone)
    for m in members:
        backbone = m.prepare(backbone)
    _on_meta(backbone)  # arguments that do not fit are refused now
    for m in members:
        m.check(backbone, photos)


def _contradictions(members: Sequence[Defense]) -> Iterator[str]:
    names = [m.name for m in members]
    for name in names:
        if names.count(name) > 1:
            yield f"{name} is named twice; name it once."
    for m in members:
        if not m.trains_on_members and not all(other is m or other.post_hoc for other in members):
            yield f"{m.name} trains on no member's photo, so a defence of the training has nothing to do. Keep one of them."
    if len(names) > 1 and "undefended" in names:
        yield "undefended is the plain training; leave it out of a composition."
    dp = [m for m in members if m.family == "dp"]
    for m in members:
        if dp and m.couples_samples:
            yield (
                f"{m.name} couples the photos of a batch, so that clipping per photo in {dp[0].name} bounds nobody's influence "
                "and no guarantee holds. Use one or the other."
            )
    owners = [m for m in members if overrides(m, "fit")]
    if len(owners) > 1:
        yield f"{' and '.join(m.name for m in owners)} each own the training loop, and only one can. Keep one of them."
    for owner in owners:
        for m in members:
            ignored = sorted(s for s in TRAINING_STAGES - owner.honours if m is not owner and overrides(m, s))
            if ignored:
                yield f"{owner.name} owns the training loop and would not apply {m.name} (its {', '.join(ignored)}). Drop one."
    for before, m in ((b, m) for i, m in enumerate(members) for b in members[:i]):
        if m.resets_statistics and before.family == "bn_statistics" and overrides(before, "release"):
            yield f"{m.name} writes all BatchNorm statistics afresh and would undo {before.name}: put {before.name} after it."


def _check_batchnorm(members: Sequence[Defense], backbone: BackboneSpec) -> None:
    """Refuses members that act on BatchNorm where none is left at their turn: all prepare, then each releases in order."""
    spec, culprits = backbone, []
    for m in members:
        prepared = m.prepare(spec)
        if prepared.kwargs.get("norm") != spec.kwargs.get("norm"):
            culprits.append(m.name)
        spec = prepared
    for m in members:
        if m.needs_batchnorm and not _has_batchnorm(spec):
            reason = f"after {' and '.join(culprits)} the backbone has none" if culprits else f"backbone {spec.name!r} has none"
            raise CompositionError(
                f"{m.name} acts on BatchNorm layers, and {reason}. "
                "Choose a backbone with BatchNorm, or leave one of the defences out."
            )
        released = m.released_spec(spec)
        culprits += [m.name] if released != spec else []
        spec = released


def _has_batchnorm(spec: BackboneSpec) -> bool:
    return bool(batchnorms(_on_meta(spec)))


def _on_meta(spec: BackboneSpec) -> nn.Module:
    """The network without its numbers, to be looked at; built once for each spec, as a sweep asks for the same ones often."""
    return _built(spec.name, canonical_json(dict(spec.kwargs)))


@lru_cache(maxsize=32)
def _built(name: str, kwargs: str) -> nn.Module:
    with torch.device("meta"):
        return backbones.create(name, json.loads(kwargs))
