"""Pre-training of a backbone on public faces, before a defence's own training touches a member's photo."""

from __future__ import annotations

import numpy as np
import torch

from benchmark.interfaces import FaceVeilError, TrainerProtocol, content_hash
from benchmark.runtime.seeding import derived_seed, weights_digest
from benchmark.training.loop import Trainer
from benchmark.training.scale import Group, spread


def pretrain(trainer: TrainerProtocol, epochs: int) -> None:
    """Trains ``trainer.backbone`` in place on ``trainer.public`` alone, under a head of their own that is thrown away.

    Weights that training starts from stand for it: where there are any, nothing is done.

    The schedule is the run's own with another number of epochs.  Runs that start alike share one checkpoint, kept beside
    their work folders, so that a series of settings pre-trains once; the seconds it took stand in the provenance of each.

    Raises:
        FaceVeilError: no public faces.
    """
    if trainer.initialised:
        trainer.provenance["pretraining"] = {"epochs": 0, "reason": "the initial weights stand for it"}
        return
    public = trainer.public
    if public is None:
        raise FaceVeilError("pre-training needs public faces: give the track's public photos, or set pretrain_epochs=0.")
    people = len(np.unique(np.asarray(public.identity)))
    seed = derived_seed(trainer.seed, 8)
    old = trainer.head
    head = type(old)(old.weight.shape[1], people, old.scale, old.margin, torch.Generator().manual_seed(derived_seed(seed, 3)))
    config = trainer.config.model_copy(update={"epochs": epochs})
    checkpoint = None
    if trainer.checkpoint is not None:
        start = content_hash(
            config.model_dump(mode="json"), trainer.input.model_dump(mode="json"), seed, public.digest,
            [type(old).__name__, old.scale, old.margin], weights_digest(trainer.backbone),
            *([spread(), *Group.current().key] if spread() else []), length=32,
        )  # fmt: skip
        checkpoint = trainer.checkpoint.parent.parent / "pretraining" / f"{start}.pt"
    inner = Trainer(
        trainer.backbone,
        head,
        public,
        config,
        trainer.input,
        seed=seed,
        device=trainer.device,
        checkpoint=checkpoint,
        progress=trainer.progress,
    )
    inner.run()
    trainer.history.extend(inner.history)  # its cost is part of the run's, also where an earlier run has paid it
    seconds = round(sum(line.seconds for line in inner.history), 2)
    trainer.provenance["pretraining"] = {"epochs": epochs, "people": people, "photos": len(public), "seconds": seconds}
