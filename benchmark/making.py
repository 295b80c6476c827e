"""From a defence's name to a submission folder: train, release, pack.

Used for entries, for shadow backbones and for re-training by the evaluator, so that all three are made alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmark.backbones import complete_kwargs, create, embedding_size
from benchmark.card import AdditionalData, Card, Claim
from benchmark.checks import norm_kinds
from benchmark.data.populations import Populations
from benchmark.interfaces import Defense, DefenseSpec, FaceVeilError, Photos, content_hash
from benchmark.protocol import BackboneSpec, InputSpec, Track
from benchmark.registry import build_defense
from benchmark.submission import Submission, load_submission, pack
from benchmark.training import TrainedModel, TrainingProgress, seeded, train_backbone

ProgressCallback = Callable[[TrainingProgress], None]
UNDEFENDED = DefenseSpec(name="undefended")


def training_track(track: Track, backbone: BackboneSpec | None, init: Submission | None) -> Track:
    """The track as one run trains on it: its own backbone and schedule, or those of the weights that are fine-tuned.

    Raises:
        FaceVeilError: fine-tuning asked for on a track that has no schedule for it.
    """
    if init is None:
        return track if backbone is None else track.model_copy(update={"backbone": backbone})
    if track.fine_tuning is None:
        raise FaceVeilError(f"track {track.name!r} trains from scratch and has no fine-tuning schedule; leave out --init.")
    return track.model_copy(update={"backbone": init.card.backbone, "training": track.fine_tuning})


def make_submission(
    populations: Populations,
    defense: DefenseSpec,
    photos: Photos,
    *,
    seed: int,
    out: Path,
    work: Path,
    backbone: BackboneSpec | None = None,
    init: Submission | None = None,
    device: torch.device | str = "cpu",
    card: Mapping[str, Any] | None = None,
    progress: ProgressCallback | None = None,
) -> Submission:
    """Trains (or, for a post-hoc defence, transforms undefended weights) and writes a submission to ``out``.

    Args:
        photos: what is trained on: the members' seen photos, or a shadow's.
        work: where checkpoints and undefended bases are kept between runs.
        card: further fields of the card (name, team, licence ...).
    """
    plugin = build_defense(defense)
    card = {"name": defense.label[:80], **(card or {})}  # as its maker named it, not with every default
    defense = DefenseSpec(name=plugin.name, settings=plugin.settings())
    track = training_track(populations.track, backbone, init)
    public = populations.auxiliary if plugin.needs_public else None
    run = _Run(track, photos, seed, work, init, device, progress)
    if plugin.post_hoc:
        base = run.undefended()
        released = plugin.release(base.backbone(), public, seed)
        made = {**base.card.training, "base_submission": base.submission_id}
        return pack(out, _card(run, plugin, base.card.backbone, base.card.input, released, made, card), released, base.head)
    model = run.train(plugin, defense, public)
    whole_card = _card(run, plugin, model.spec, model.input, model.backbone, _summary(model), card)
    return pack(out, whole_card, model.backbone, model.head.state_dict())


@dataclass(frozen=True)
class _Run:
    """What all trainings of one call share."""

    track: Track
    photos: Photos
    seed: int
    work: Path
    init: Submission | None
    device: torch.device | str
    progress: ProgressCallback | None

    def train(self, plugin: Defense, defense: DefenseSpec, public: Photos | None) -> TrainedModel:
        return train_backbone(
            self.track,
            plugin,
            self.photos,
            seed=self.seed,
            device=self.device,
            public=public,
            init=self.init.weights if self.init else None,
            input=self.init.card.input if self.init else None,
            work=self.work / f"training-{self._name(defense)}",
            progress=self.progress,
        )

    def undefended(self) -> Submission:
        """The undefended weights that post-hoc defences start from; trained once, then read from disk."""
        path = self.work / f"undefended-{self._name(UNDEFENDED)}"
        if (path / "card.json").exists():
            return load_submission(path)
        plugin = build_defense(UNDEFENDED)
        model = self.train(plugin, UNDEFENDED, None)
        card = _card(self, plugin, model.spec, model.input, model.backbone, _summary(model), None)
        return pack(path, card, model.backbone, model.head.state_dict())

    def _name(self, defense: DefenseSpec) -> str:
        return content_hash(
            self.track.settings("head", "backbone", "training", "image_size"),
            defense.model_dump(mode="json"),
            self.photos.digest,
            self.seed,
            self.init.submission_id if self.init else None,
        )


def _summary(model: TrainedModel) -> dict[str, Any]:
    last = model.history[-1]
    return {
        "seconds": round(model.seconds, 2),
        "epochs": len(model.history),
        "final_loss": round(float(last.loss), 4),
        "final_accuracy": round(float(last.accuracy), 4),
        **model.provenance,
    }


def _card(
    run: _Run,
    plugin: Defense,
    spec: BackboneSpec,
    size: InputSpec,
    backbone: nn.Module,
    training: Mapping[str, Any],
    fields: Mapping[str, Any] | None,
) -> Card:
    full = DefenseSpec(name=plugin.name, settings=plugin.settings())
    claim = training.get("claim")
    public = (AdditionalData(name="auxiliary", use="the track's public people, by the defence"),) if plugin.needs_public else ()
    values: dict[str, Any] = {
        "name": full.label[:80],
        "track": run.track.name,
        "protocol_version": run.track.version,
        "seed": run.seed,
        "defenses": (full,),
        "backbone": spec,
        "norm": next(iter(sorted(norm_kinds(backbone))), "none"),
        "embedding_size": embedding_size(backbone, size),
        "input": size,
        "inference": plugin.inference(),
        "initialised_from": run.init.card.name if run.init else "",
        "additional_data": public,
        "claim": Claim(**claim) if claim else None,
        "training": {k: v for k, v in training.items() if k != "claim"},
    }
    return Card(**{**values, **dict(fields or {})})


def make_untrained(track: Track, work: Path) -> Submission:
    """The track's backbone with random weights: what no training photo has touched."""
    path = work / f"untrained-{content_hash(track.backbone.model_dump(mode='json'), track.image_size)}"
    if (path / "card.json").exists():
        return load_submission(path)
    size = (track.image_size, track.image_size)
    spec = BackboneSpec(name=track.backbone.name, kwargs=complete_kwargs(track.backbone.name, track.backbone.kwargs, size))
    with seeded(0):
        backbone = create(spec.name, spec.kwargs)
    height_width = tuple(spec.kwargs.get("input_size", size))
    input_spec = InputSpec(size=height_width)
    card = Card(
        name="untrained",
        track=track.name,
        defenses=(UNDEFENDED,),
        backbone=spec,
        norm=next(iter(sorted(norm_kinds(backbone))), "none"),
        embedding_size=embedding_size(backbone, input_spec),
        input=input_spec,
    )
    return pack(path, card, backbone.eval())
