"""From a defence's name to a submission folder: train, release, pack.

Used for entries, for shadow backbones and for re-training by the evaluator, so that all three are made alike.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.data.populations import Populations
from benchmark.interfaces import BackboneSpec, DefenseSpec, FaceVeilError, Photos, ReleaseContext, content_hash
from benchmark.models.backbones import complete_kwargs, create, embedding_size
from benchmark.models.normalisation import norm_kinds
from benchmark.protocol.track import InputSpec, Track
from benchmark.runtime.progress import ProgressCallback
from benchmark.runtime.secret import noise_seed, secret_hash
from benchmark.runtime.unfinished import beside
from benchmark.submissions.cached import keep, kept
from benchmark.submissions.card import AdditionalData, Card, Claim
from benchmark.submissions.submission import Submission, pack
from benchmark.training.compatibility import check_setting
from benchmark.training.composition import Composition, Defenses, compose, specs_of
from benchmark.training.pipeline import TrainedModel, seeded, train_backbone
from benchmark.training.scale import Group, spread

UNDEFENDED = DefenseSpec(name="undefended")


def training_track(track: Track, backbone: BackboneSpec | None, init: Submission | None) -> Track:
    """The track as one run trains on it: its own backbone and schedule, or those of the weights that are fine-tuned.

    Raises:
        FaceVeilError: fine-tuning asked for on a track that has no schedule for it, or left out where it is needed.
    """
    if init is None and track.needs_init:
        raise FaceVeilError(f"track {track.name!r} fine-tunes public weights: pass --init PATH (a checkpoint or a submission).")
    if init is None:
        return track if backbone is None else track.model_copy(update={"backbone": backbone})
    if track.fine_tuning is None:
        raise FaceVeilError(f"track {track.name!r} trains from scratch and has no fine-tuning schedule; leave out --init.")
    return track.model_copy(update={"backbone": init.card.backbone, "training": track.fine_tuning})


def make_submission(
    populations: Populations,
    defense: Defenses,
    photos: Photos,
    *,
    seed: int,
    out: Path,
    work: Path,
    backbone: BackboneSpec | None = None,
    init: Submission | None = None,
    public: Photos | None = None,
    device: torch.device | str = "cpu",
    card: Mapping[str, Any] | None = None,
    progress: ProgressCallback | None = None,
) -> Submission:
    """Trains (or, for post-hoc defences, transforms weights trained without them) and writes a submission to ``out``.

    Args:
        defense: one spec, several that are composed in their order, or their composition.
        photos: what is trained on: the members' seen photos, or a shadow's.
        work: where checkpoints and bases of post-hoc defences are kept between runs.
        public: public faces for defences that need some; default the track's own.
        card: more fields of the card (name, team, licence ...).

    Raises:
        FaceVeilError: defences that contradict each other or cannot be trained here, before any training.
    """
    composition = compose(defense)
    track = training_track(populations.track, backbone, init)
    check_on(composition, track, len(photos), populations.public_people, initialised=init is not None)
    if composition.uses_public() and public is None:
        public = populations.public
    run = _Run(track, photos, public, seed, work, init, device, progress)
    fields = {"name": " + ".join(spec.label for spec in specs_of(defense))[:80], **(card or {})}
    first, last = composition.split_post_hoc()
    if last is not None:
        return run.release(first or compose(UNDEFENDED), last, out, fields)
    return run.make(composition, out, fields)


def check_on(composition: Composition, track: Track, photos: int, public: int, *, initialised: bool = False) -> None:
    """Refuses defences that cannot be trained on a track, with ``photos`` photos and ``public`` public people."""
    size = (track.image_size, track.image_size)
    spec = BackboneSpec(name=track.backbone.name, kwargs=complete_kwargs(track.backbone.name, track.backbone.kwargs, size))
    check_setting(composition.members, spec, photos=photos, head=track.head.name, public=public, initialised=initialised)


@dataclass(frozen=True)
class _Run:
    """What all trainings of one call share."""

    track: Track
    photos: Photos
    public: Photos | None
    seed: int
    work: Path
    init: Submission | None
    device: torch.device | str
    progress: ProgressCallback | None

    def make(self, defense: Composition, out: Path, fields: Mapping[str, Any]) -> Submission:
        """Trains under a defence and packs."""
        model = train_backbone(
            self.track,
            defense,
            self.photos,
            seed=self.seed,
            device=self.device,
            public=self.public,
            init=self.init.weights if self.init else None,
            input=self.init.card.input if self.init else None,
            work=self.work / f"training-{self._name(defense)}",
            progress=self.progress,
        )
        card = _card(self, defense, model.spec, model.input, model.backbone, _summary(model), fields)
        return _pack(out, card, model.backbone, model.head.state_dict())

    def base(self, defense: Composition) -> Submission:
        """The weights that post-hoc defences start from; trained once, then read from disk."""
        path = self.work / f"{defense.name}-{self._name(defense)}"
        return kept(path) or keep(self.make(defense, path, {}))

    def release(self, trained: Composition, last: Composition, out: Path, fields: Mapping[str, Any]) -> Submission:
        """Releases a base under post-hoc defences and packs."""
        base = self.base(trained)
        start = time.perf_counter()
        made = {**base.card.training, "base_submission": base.submission_id}
        if base.card.claim is not None:
            made["claim"] = base.card.claim.model_dump()
        size = base.card.input
        noise = noise_seed(self.seed, self.photos.digest, last.key())
        context = ReleaseContext(self.photos, self.public, size, self.seed, torch.device(self.device), made, noise)
        backbone = base.backbone().to(self.device)
        released = last.release(backbone, context).to("cpu").to(memory_format=torch.contiguous_format).eval()
        if any(m.draws_noise for m in last.members):
            made["noise"] = {"secret_sha256": secret_hash()}
        made["release_seconds"] = round(time.perf_counter() - start, 2)
        whole = Composition(members=tuple(m for m in (*trained.members, *last.members) if m.name != UNDEFENDED.name))
        if not whole.members:
            whole = last
        spec = last.released_spec(base.card.backbone)
        return _pack(out, _card(self, whole, spec, size, released, made, fields), released, base.head)

    def _name(self, defense: Composition) -> str:
        return content_hash(
            self.track.settings("head", "backbone", "training", "image_size"),
            defense.key(),
            self.photos.digest,
            self.seed,
            self.init.submission_id if self.init else None,
            *([self.public.digest] if self.public is not None and defense.uses_public() else []),
            *([spread()] if spread() else []),
            *Group.current().key,
        )


def _check_finite(backbone: nn.Module, size: InputSpec) -> None:
    """Refuses to pack what diverged in its very last step, which no loss has shown.

    Raises:
        FaceVeilError: weights, statistics or the embedding of a photo hold NaN or infinity.
    """
    bad = [name for name, tensor in backbone.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    remedy = "Training diverged in its last steps; nothing was written. Lower the learning rate, or train for fewer steps."
    if bad:
        raise FaceVeilError(f"{len(bad)} tensors of the trained backbone hold NaN or infinity, {bad[0]} among them. {remedy}")
    parameter = next(backbone.parameters())
    photos = torch.linspace(-1, 1, 2 * 3 * size.size[0] * size.size[1]).reshape(2, 3, *size.size).to(parameter)
    training = backbone.training
    with torch.inference_mode():
        embeddings = backbone.eval()(photos)
    backbone.train(training)
    if not bool(torch.isfinite(embeddings).all()):
        raise FaceVeilError(f"the embeddings of the trained backbone hold NaN or infinity. {remedy}")


def _pack(out: Path, card: Card, backbone: nn.Module, head: Mapping[str, Tensor] | None) -> Submission:
    """Packs; where several processes train together they all hold the same weights, and the first one writes them."""
    _check_finite(backbone, card.input)
    if Group.current().rank:
        with beside(Path(tempfile.gettempdir()) / "faceveil-rank", folder=True) as folder:
            return replace(pack(folder / "submission", card, backbone, head), path=None)
    return pack(out, card, backbone, head)


def _summary(model: TrainedModel) -> dict[str, Any]:
    last = model.history[-1] if model.history else None  # None: the initial weights were left as they are
    ends = {"final_loss": round(float(last.loss), 4), "final_accuracy": round(float(last.accuracy), 4)} if last else {}
    return {
        "seconds": round(model.seconds, 2),
        "processor_seconds": round(model.processor_seconds, 2),
        "epochs": len(model.history),
        **ends,
        **_progress(model),
        **model.provenance,
    }


def _progress(model: TrainedModel) -> dict[str, Any]:
    """The learning curve, and how fast it was drawn; all processes together."""
    if not model.history:
        return {}
    return {
        "photos_per_second": round(float(np.median([line.images_per_second for line in model.history])), 1),
        "loss_curve": [round(float(line.loss), 4) for line in model.history],
        "accuracy_curve": [round(float(line.accuracy), 4) for line in model.history],
        **spread(),
    }


def _card(
    run: _Run,
    defense: Composition,
    spec: BackboneSpec,
    size: InputSpec,
    backbone: nn.Module,
    training: Mapping[str, Any],
    fields: Mapping[str, Any],
) -> Card:
    claim = training.get("claim")
    idle = {m.name: m.not_applicable for m in defense.members if m.not_applicable}
    using = ", ".join(m.name for m in defense.members if m.uses_public())
    public = (AdditionalData(name="public", use=f"the track's public people, by {using}"),) if using else ()
    values: dict[str, Any] = {
        "name": defense.label[:80],
        "track": run.track.name,
        "protocol_version": run.track.version,
        "seed": run.seed,
        "defenses": defense.specs,
        "backbone": spec,
        "norm": next(iter(sorted(norm_kinds(backbone))), "none"),
        "embedding_size": embedding_size(backbone, size),
        "input": size,
        "inference": defense.inference(),
        "initialised_from": run.init.card.name if run.init else "",
        "additional_data": public,
        "claim": Claim(**claim) if claim else None,
        "plugin_files": defense.plugin_files(),
        "training": {k: v for k, v in training.items() if k != "claim"} | ({"not_applicable": idle} if idle else {}),
    }
    return Card(**{**values, **fields})


def make_untrained(track: Track, work: Path, seed: int = 0) -> Submission:
    """The track's backbone with random weights: what no training photo has touched."""
    path = work / f"untrained-{content_hash(track.backbone.model_dump(mode='json'), track.image_size, seed)}"
    if (found := kept(path)) is not None:
        return found
    size = (track.image_size, track.image_size)
    spec = BackboneSpec(name=track.backbone.name, kwargs=complete_kwargs(track.backbone.name, track.backbone.kwargs, size))
    with seeded(seed):
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
    return keep(pack(path, card, backbone.eval()))
