"""The trainer: one plain loop, the same weights from the same seed, resumable after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.interfaces import Batch, Defense, FaceVeilError, ForwardPass, Photos, content_hash
from benchmark.models.heads import Head
from benchmark.models.inputs import to_input
from benchmark.protocol.track import InputSpec, TrainingConfig
from benchmark.runtime.checked import discard, intact
from benchmark.runtime.checkpoint import save_checkpoint
from benchmark.runtime.memory import out_of_memory
from benchmark.runtime.progress import TrainingProgress
from benchmark.runtime.seeding import derived_seed, seeded, weights_digest
from benchmark.training.middle import MiddleOfEpoch
from benchmark.training.scale import Group, PhotoLoader, Scale, current_scale
from benchmark.training.synchronised import synchronised

CHECKPOINT_VERSION = 2


def build_optimizer(config: TrainingConfig, *modules: nn.Module) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW, over the trainable parameters; no weight decay on norms, biases and slopes."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999))
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)


def epoch_batches(photos: int, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Positions of the photos of every batch of an epoch, freshly shuffled; a last batch of one is dropped (BatchNorm)."""
    order = np.random.default_rng([seed, 1, epoch]).permutation(photos)
    return [order[i : i + size] for i in range(0, photos, size) if photos - i > 1]


class Trainer:
    """Trains ``backbone`` and ``head`` on ``photos`` in place; what a defence's training stages are given.

    ``extra`` holds the networks that the defence's ``modules`` stage adds: optimised and checkpointed with the rest.
    Everything random derives from (seed, epoch), so a run resumed from its checkpoint ends in the same weights as one
    that was never interrupted, on the same machine.

    Args:
        photos: people become classes 0..C-1 in the order of their sorted identities.
        scale: how the training is spread over processes and time; default what is in force, see ``scale``.
        checkpoint: file written after every epoch and resumed from; tied to this run's settings, photos and first weights.
        progress: called after every epoch.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: Head,
        photos: Photos,
        config: TrainingConfig,
        input: InputSpec,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        defense: Defense | None = None,
        public: Photos | None = None,
        initialised: bool = False,
        scale: Scale | None = None,
        checkpoint: Path | None = None,
        progress: Callable[[TrainingProgress], None] | None = None,
    ) -> None:
        if len(photos) < 2:
            raise FaceVeilError(
                f"training needs at least 2 photos, {len(photos)} given: enlarge the track's members or photos seen."
            )
        self.device = torch.device(device)
        self.backbone = backbone.to(self.device).to(memory_format=torch.channels_last)
        self.head = head.to(self.device)
        self.defense = defense or Defense()
        self.photos, self.config, self.input, self.seed = photos, self.defense.configure(config), input, seed
        self.public, self.checkpoint, self.progress = public, checkpoint, progress
        self.initialised = initialised
        self.labels = torch.from_numpy(np.unique(np.asarray(photos.identity), return_inverse=True)[1].reshape(-1))
        self.epoch = 0  # epochs done
        self.group, self.scale = Group.current(), scale or current_scale()
        self._loader = PhotoLoader(photos, self.scale.loaders)
        self._middle: MiddleOfEpoch | None = None  # where a checkpoint within an epoch was written
        if self.config.batch_size < 2 * self.group.size * self.scale.accumulate:
            raise FaceVeilError(
                f"a batch of {self.config.batch_size} photos cannot be spread over {self.group.size} processes in "
                f"{self.scale.accumulate} parts: each part needs 2 photos."
            )
        self.optimizer: torch.optim.Optimizer | None = None
        self.history: list[TrainingProgress] = []
        self.provenance: dict[str, Any] = {}
        with seeded(derived_seed(seed, 6)):
            self.extra = nn.ModuleDict(dict(self.defense.modules(self))).to(self.device)
        self._mark, self._processor_mark = time.perf_counter(), time.process_time()
        self._run_digest = self._digest() if checkpoint is not None else ""

    @property
    def classes(self) -> int:
        """People trained on."""
        return self.head.weight.shape[0]

    @property
    def embedding_size(self) -> int:
        """D of the embeddings (B, D)."""
        return self.head.weight.shape[1]

    def run(self, epochs: int | None = None) -> None:
        """Train up to ``epochs`` epochs in all (default: the configured number, on whose schedule the rate falls anyway).

        Raises:
            FaceVeilError: the loss is not finite, or the checkpoint is of another run.
        """
        epochs = self.config.epochs if epochs is None else epochs
        if self.optimizer is None:
            self.optimizer = build_optimizer(self.config, self.backbone, self.head, self.extra)
            self.load_checkpoint(self.optimizer)
        if not self.epoch <= epochs <= self.config.epochs:
            raise FaceVeilError(
                f"asked to train {epochs} epochs with {self.epoch} done and {self.config.epochs} in the schedule: "
                "use another work folder, or raise training.epochs."
            )
        while self.epoch < epochs:
            with (
                seeded(derived_seed(self.seed, 0, self.epoch, *([self.group.rank] if self.group.rank else []))),
                torch.backends.cudnn.flags(enabled=True, deterministic=True),
            ):
                if self._middle is not None:
                    self._check_processes(self._middle)
                    self._middle.restore_draws(self.group.rank, self.device)
                loss, accuracy = self._train_epoch(self.epoch, self.optimizer)
            self.finish_epoch(loss, accuracy, self.optimizer, epochs=epochs)

    def _train_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> tuple[float, float]:
        """Mean loss and accuracy of one epoch."""
        for module in (self.backbone, self.head, self.extra):
            module.train()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        loss_sum, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        batches = self.batches(epoch)
        done = 0
        if self._middle is not None:  # of an epoch that was interrupted
            done, sums = self._middle.batches, self._middle.sums[self.group.rank]
            loss_sum, correct = sums[0].to(self.device), sums[1].to(self.device)
            self._middle = None
        parts = [part for index in batches[done:] for part in self.group.parts(index, self.scale.accumulate)]
        photos = self._loader.batches(parts)
        with self._watching() as features:
            for number in range(done, len(batches)):
                step = epoch * len(batches) + number
                for group in optimizer.param_groups:
                    group["lr"] = self.lr_at(step)
                optimizer.zero_grad(set_to_none=True)
                self._draw_classes(batches[number], step)
                for part in self.group.parts(batches[number], self.scale.accumulate):
                    loss, right = self._accumulate(part, next(photos), epoch, step, len(batches[number]), features)
                    loss_sum += loss
                    correct += right
                self.group.add_gradients(parameters)
                if self.config.clip_norm:
                    nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
                optimizer.step()
                self.head.drawn = None
                self._checkpoint_within(optimizer, number + 1, len(batches), loss_sum, correct)
        self.group.add(loss_sum, correct)
        self.group.average_buffers(self.backbone, self.head, self.extra)
        seen = sum(len(index) for index in batches)
        return loss_sum.item() / seen, correct.item() / seen

    def _check_processes(self, middle: MiddleOfEpoch) -> None:
        if len(middle.sums) != self.group.size:
            raise FaceVeilError(
                f"checkpoint {self.checkpoint} was written within an epoch by {len(middle.sums)} processes, and "
                f"{self.group.size} resume: start as many as before, or delete it to start again."
            )

    def _accumulate(
        self, index: np.ndarray, images: Tensor, epoch: int, step: int, whole: int, features: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Adds the gradient of a part of a batch of ``whole`` photos; returns its summed loss and correct answers."""
        with synchronised(self.group.size):
            passed = self._forward(Batch(index, *self._ready(images, index, epoch), epoch, step), features)
            losses = F.cross_entropy(passed.logits, passed.labels, reduction="none")
            loss = self.defense.loss(losses, passed, self).mean()
        (loss if len(index) == whole else loss * (len(index) / whole)).backward()
        with torch.no_grad():
            right = (self.head.cosine_logits(passed.embeddings).argmax(1) == passed.labels).sum()
            return loss * len(index), right

    def _draw_classes(self, index: np.ndarray, step: int) -> None:
        """The classes that the head is asked about in this step, the same in every process; all of them by default."""
        if self.head.sample < 1:
            self.head.draw(self.labels[index], torch.Generator().manual_seed(derived_seed(self.seed, 8, step)))

    def _forward(self, batch: Batch, features: Mapping[str, Tensor]) -> ForwardPass:
        batch = self.defense.transform_batch(batch, self)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.autocast):
            embeddings = self.backbone(batch.inputs)
            labels = self.head.places(batch.labels)
            logits = self.head(self.defense.embed(embeddings, batch, self), labels)
        known = {f.name: getattr(batch, f.name) for f in fields(Batch)}
        known["labels"] = labels
        return ForwardPass(**known, embeddings=embeddings, logits=logits, features=dict(features))

    @contextmanager
    def _watching(self) -> Iterator[dict[str, Tensor]]:
        """While open, the outputs of the modules that the defence watches, of the last forward pass."""
        found: dict[str, Tensor] = {}
        handles = [
            self.backbone.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: found.update({name: out}))
            for name in self.defense.watched(self.backbone)
        ]
        try:
            yield found
        finally:
            for handle in handles:
                handle.remove()

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Positions of the photos of every batch of an epoch, see :func:`epoch_batches`."""
        batches = epoch_batches(len(self.photos), self.config.batch_size, self.seed, epoch)
        return batches[: self.steps_per_epoch()]

    def batch(self, index: np.ndarray, epoch: int) -> tuple[Tensor, Tensor]:
        """Normalised inputs (B, 3, H, W) and class indices (B,) of some photos, with the epoch's random flips if configured."""
        return self._ready(self.photos.load(index), index, epoch)

    def _ready(self, images: Tensor, index: np.ndarray, epoch: int) -> tuple[Tensor, Tensor]:
        images = to_input(images.to(self.device, non_blocking=True), self.input)
        if self.config.flip:
            flipped = np.random.default_rng([self.seed, 2, epoch]).random(len(self.photos))[index] < 0.5
            mask = torch.from_numpy(flipped).to(self.device)[:, None, None, None]
            images = torch.where(mask, images.flip(-1), images)
        return images.contiguous(memory_format=torch.channels_last), self.labels[index].to(self.device)

    def steps_per_epoch(self) -> int:
        """Batches of one epoch."""
        size, count = self.config.batch_size, len(self.photos)
        fewest = 2 * self.group.size * self.scale.accumulate  # a part of one photo has no spread for BatchNorm
        return int(count // size + (count % size >= fewest))

    def step_count(self) -> int:
        """Optimiser steps of the whole schedule."""
        return int(self.config.epochs * self.steps_per_epoch())

    def lr_at(self, step: int) -> float:
        """Learning rate of a step (0 for the first): linear warm-up to ``config.lr``, then a cosine to zero."""
        warmup = round(self.config.warmup_epochs * self.steps_per_epoch())
        if step < warmup:
            return float(self.config.lr * ((step + 1) / warmup))
        share = (step - warmup) / max(1, self.step_count() - warmup)
        return float(self.config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))

    def finish_epoch(
        self,
        loss: float,
        accuracy: float,
        optimizer: torch.optim.Optimizer,
        *,
        epochs: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Counts an epoch as done, writes the checkpoint, then calls ``progress``: stopping the run there loses nothing.

        Args:
            epochs: how many are asked for; default the configured number.
            extra: as for :meth:`save_checkpoint`.

        Raises:
            FaceVeilError: the loss is not finite.
        """
        if not math.isfinite(loss):
            raise FaceVeilError(
                f"the training loss is {loss} in epoch {self.epoch + 1}: lower training.lr, lengthen training.warmup_epochs, "
                "set training.clip_norm, or switch training.autocast off."
            )
        self.epoch += 1
        now, processor = time.perf_counter(), time.process_time()
        seconds, spent = now - self._mark, processor - self._processor_mark
        self._mark, self._processor_mark = now, processor
        speed = round(len(self.photos) / seconds, 1)
        total = epochs or self.config.epochs
        line = TrainingProgress(self.epoch, total, loss, accuracy, round(seconds, 3), speed, round(spent, 3))
        self.history.append(line)
        self.save_checkpoint(optimizer, extra)
        if self.progress is not None:
            self.progress(line)

    def _digest(self) -> str:
        return content_hash(
            CHECKPOINT_VERSION,
            self.config.model_dump(mode="json"),
            self.input.model_dump(mode="json"),
            self.seed,
            self.photos.digest,
            [getattr(self.defense, "name", ""), self.defense.settings()],
            weights_digest(self.backbone),
            weights_digest(self.head),
            *([weights_digest(self.extra)] if self.extra else []),
            *([self.group.size, self.scale.accumulate] if self.group.size * self.scale.accumulate > 1 else []),
            *self.group.key,
            length=32,
        )

    def save_checkpoint(self, optimizer: torch.optim.Optimizer, extra: Mapping[str, Any] | None = None) -> None:
        """Writes the run's state after ``self.epoch`` epochs, all or nothing; does nothing without a checkpoint file.

        Args:
            extra: further state of a defence's own loop: tensors, numbers, text, lists and dicts of them.
        """
        if self.checkpoint is None:
            return
        self._write_checkpoint(optimizer, {"extra": dict(extra or {})})

    def _checkpoint_within(
        self, optimizer: torch.optim.Optimizer, done: int, batches: int, loss_sum: Tensor, correct: Tensor
    ) -> None:
        """Writes the state within an epoch, every ``scale.checkpoint_steps`` steps; its end has a checkpoint anyway."""
        every = self.scale.checkpoint_steps
        if self.checkpoint is None or not every or done % every or done == batches:
            return
        self.group.average_buffers(self.backbone, self.head, self.extra)
        middle = MiddleOfEpoch.now(self.group, self.device, done, torch.stack([loss_sum.detach(), correct.float()]))
        self._write_checkpoint(optimizer, {"extra": {}, "middle": middle.state()})

    def _write_checkpoint(self, optimizer: torch.optim.Optimizer, more: Mapping[str, Any]) -> None:
        if self.group.rank or self.checkpoint is None:
            return
        state = {
            "run": self._run_digest,
            "epoch": self.epoch,
            "backbone": self.backbone.state_dict(),
            "head": self.head.state_dict(),
            "modules": self.extra.state_dict(),
            "optimizer": optimizer.state_dict(),
            "history": [asdict(line) for line in self.history],
            "provenance": dict(self.provenance),
            **more,
        }
        save_checkpoint(self.checkpoint, state)

    def load_checkpoint(self, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
        """Puts the run back to where its checkpoint was written; returns the ``extra`` state, None where there is no file.

        A damaged checkpoint is removed with a line in the log, and the run starts again.

        Raises:
            FaceVeilError: the file is of another run.
        """
        if self.checkpoint is None or not intact(self.checkpoint):
            return None
        try:
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            run = state["run"]
        except Exception as error:  # torch.load raises many kinds
            if out_of_memory(error):
                raise  # the checkpoint is good
            discard(self.checkpoint, f"it cannot be read: {type(error).__name__}")
            return None
        if run != self._run_digest:
            raise FaceVeilError(
                f"checkpoint {self.checkpoint} is of another run (settings, seed, photos, defence or first weights differ): "
                "delete it, or choose another work folder."
            )
        self.backbone.load_state_dict(state["backbone"])
        self.head.load_state_dict(state["head"])
        self.extra.load_state_dict(state["modules"])
        optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]
        self._middle = MiddleOfEpoch(**state["middle"]) if "middle" in state else None
        self.history = [TrainingProgress(**line) for line in state["history"]]
        self.provenance.update(state["provenance"])
        self._mark, self._processor_mark = time.perf_counter(), time.process_time()
        result: dict[str, Any] | None = state["extra"]
        return result
