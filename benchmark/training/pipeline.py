"""Training of a backbone under a defence: prepare, fit, release."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.interfaces import BackboneSpec, Defense, FaceVeilError, Photos, ReleaseContext
from benchmark.models.backbones import complete_kwargs, create, embedding_size
from benchmark.models.heads import Head, build_head
from benchmark.protocol.track import InputSpec, Track, TrainingConfig
from benchmark.runtime.progress import TrainingProgress
from benchmark.runtime.seeding import derived_seed, seeded
from benchmark.training.loop import Trainer

__all__ = [
    "TrainedModel",
    "Trainer",
    "TrainingConfig",
    "TrainingProgress",
    "derived_seed",
    "load_initial",
    "seeded",
    "train_backbone",
]

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class TrainedModel:
    """A trained backbone as released (on the CPU, evaluation mode) with the head it was trained under."""

    backbone: nn.Module
    head: Head
    spec: BackboneSpec  # of the released backbone, with the arguments filled in that rebuild it
    input: InputSpec
    embedding_size: int
    provenance: dict[str, Any]
    history: list[TrainingProgress]
    seconds: float = field(compare=False)  # training and release, with those of an interrupted part
    processor_seconds: float = field(compare=False, default=0.0)  # the same, of this process alone


def load_initial(backbone: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads weights to fine-tune from.  BatchNorm statistics are left out where the backbone's norm keeps none.

    Raises:
        FaceVeilError: names of missing, unexpected or wrong-shaped tensors.
    """
    own = backbone.state_dict()
    exchanged = {name for name, layer in backbone.named_modules() if isinstance(layer, nn.GroupNorm)}
    state = {
        name: value
        for name, value in state.items()
        if name in own or name.rpartition(".")[0] not in exchanged or name.rpartition(".")[2] not in STATISTICS
    }
    problems = [f"missing {name}" for name in own if name not in state]
    problems += [f"unexpected {name}" for name in state if name not in own]
    problems += [
        f"{name} is {tuple(state[name].shape)}, needed {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise FaceVeilError(
            f"the initial weights do not fit the backbone: {'; '.join(problems[:5])}{more}. "
            "Use the backbone name and arguments that the weights were made with (input_size among them)."
        )
    backbone.load_state_dict(state)


def train_backbone(
    track: Track,
    defense: Defense,
    photos: Photos,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    public: Photos | None = None,
    init: Mapping[str, Tensor] | None = None,
    input: InputSpec | None = None,
    work: Path | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> TrainedModel:
    """Trains the track's backbone on ``photos`` under ``defense``: prepare, fit, release.

    Args:
        public: public faces, for defences that need some.
        init: weights of the unmodified backbone to fine-tune from.
        input: size and normalisation; default the track's image size with mean and deviation 0.5.
        work: folder for the checkpoint; a run with the same settings resumes from it.

    Raises:
        FaceVeilError: backbone, size or initial weights do not fit together, or training failed.
    """
    start, processor = time.perf_counter(), time.process_time()
    if defense.uses_public() and public is None and (init is None or defense.trains_on_members):
        raise FaceVeilError(f"defence {defense.name!r} needs public faces: give the track's public photos.")
    spec = defense.prepare(track.backbone)
    kwargs = complete_kwargs(spec.name, spec.kwargs, (track.image_size, track.image_size))
    if input is None:
        input = InputSpec(size=tuple(kwargs.get("input_size", (track.image_size, track.image_size))))
    with seeded(seed):
        backbone = create(spec.name, kwargs)
        if init is not None:
            load_initial(backbone, init)
    size = embedding_size(backbone, input)
    classes = len(np.unique(np.asarray(photos.identity)))
    head = build_head(track.head, size, classes, torch.Generator().manual_seed(derived_seed(seed, 3)))
    trainer = Trainer(
        backbone,
        head,
        photos,
        track.training,
        input,
        seed=seed,
        device=device,
        defense=defense,
        public=public,
        initialised=init is not None,
        checkpoint=work / "checkpoint.pt" if work is not None else None,
        progress=progress,
    )
    defense.fit(trainer)
    context = ReleaseContext(photos, public, input, seed, trainer.device, trainer.provenance)
    released = defense.release(trainer.backbone.eval(), context)
    return TrainedModel(
        backbone=released.to("cpu").to(memory_format=torch.contiguous_format).eval(),
        head=trainer.head.cpu().eval(),
        spec=defense.released_spec(BackboneSpec(name=spec.name, kwargs=kwargs)),
        input=input,
        embedding_size=size,
        provenance=trainer.provenance,
        history=trainer.history,
        seconds=max(sum(line.seconds for line in trainer.history), time.perf_counter() - start),
        processor_seconds=max(sum(line.processor_seconds for line in trainer.history), time.process_time() - processor),
    )
