"""Trains a StyleGAN2 generator on public faces: one plain loop, the same weights from the same seed, resumable.

Non-saturating loss with lazy R1 (and, where asked for, path-length) regularisation, adaptive augmentation, and an averaged
generator, as in arXiv 1912.04958 and 2006.06676.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks.generators.augmentation import adapted, augment
from attacks.generators.config import GanConfig
from attacks.generators.discriminator import Discriminator
from attacks.generators.losses import discriminator_loss, generator_loss, path_penalty, r1_penalty
from attacks.generators.stylegan2 import Generator
from attacks.generators.warmup import Encoder, warmup_loss
from benchmark.interfaces import FaceVeilError, Photos, content_hash
from benchmark.models.inputs import fit_size
from benchmark.runtime.checked import intact
from benchmark.runtime.checkpoint import save_checkpoint
from benchmark.runtime.memory import out_of_memory
from benchmark.runtime.seeding import derived_seed, seeded

VERSION = 1  # raise it with every change of what a seed leads to
_BETA = 0.99  # of Adam's second moment; the first is 0
_W_DECAY = 0.995  # of the running mean of w
_ADA_STEPS = 4  # between two adjustments of p
_MEAN_LATENTS = 10_000  # of the mean of w in the finished generator
_CHUNK = 512


@dataclass(frozen=True)
class GanProgress:
    """Where a run stands; losses are means since the last report."""

    images: int
    of: int
    generator_loss: float
    discriminator_loss: float
    real_sign: float  # mean sign of the discriminator's logits of real photos: 1 where it has learned them by heart
    augmentation: float
    seconds: float  # of this and the earlier parts of an interrupted run
    fid: float | None = None


def load_faces(photos: Photos, resolution: int) -> Tensor:
    """All photos as uint8 (N, 3, resolution, resolution)."""
    parts = []
    for start in range(0, len(photos), _CHUNK):
        images = photos.load(np.arange(start, min(start + _CHUNK, len(photos))))
        parts.append(fit_size(images.float(), (resolution, resolution)).round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts)


class GanTrainer:
    """Trains ``generator`` against ``discriminator``; ``average`` is the generator that is kept.

    Everything random derives from (seed, step), so that a run resumed from its checkpoint ends in the same weights as one that
    was never interrupted, on the same machine with the same number of threads.

    Args:
        faces: uint8 (N, 3, R, R), R being the configured resolution.
        checkpoint: file written by :meth:`save` and resumed from; tied to settings, seed and faces, not to ``images``.

    Raises:
        FaceVeilError: too few faces, or a checkpoint that is unreadable or of another run.
    """

    def __init__(
        self,
        faces: Tensor,
        config: GanConfig,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        checkpoint: Path | None = None,
    ) -> None:
        if len(faces) < config.batch_size:
            raise FaceVeilError(f"{len(faces)} faces are fewer than one batch of {config.batch_size}: lower batch_size.")
        self.faces, self.config, self.seed, self.checkpoint = faces, config, seed, checkpoint
        self.device = torch.device(device)
        with seeded(derived_seed(seed, 0)):
            self.generator = config.generator().to(self.device)
            self.discriminator = Discriminator(config.resolution, config.discriminator_base, config.discriminator_max).to(
                self.device
            )
            self.encoder = Encoder(config.resolution, config.z_dim, config.discriminator_base, config.discriminator_max).to(
                self.device
            )
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.generator_optimizer = _adam(self.generator, config.lr, config.path_every if config.path_weight else 0)
        self.discriminator_optimizer = _adam(self.discriminator, config.lr, config.r1_every if config.r1_weight else 0)
        warmed = [*self.generator.parameters(), *self.encoder.parameters()]
        self.warmup_optimizer = torch.optim.Adam(warmed, lr=config.warmup_lr, betas=(0.9, _BETA))
        self.step = 0
        self.augmentation = 0.0
        self.path_mean = torch.zeros((), device=self.device)
        self.history: list[GanProgress] = []
        self._signs: list[float] = []
        self._sums = torch.zeros(3)  # generator's loss, discriminator's, signs
        self._summed = 0
        self._before, self._start = 0.0, time.perf_counter()
        if checkpoint is not None and intact(checkpoint):
            self._load(checkpoint)

    @property
    def images(self) -> int:
        """Real photos shown so far."""
        return self.step * self.config.batch_size

    @property
    def seconds(self) -> float:
        """Time spent, in earlier parts of the run too."""
        return self._before + time.perf_counter() - self._start

    def run(self, *, every: int, report: Callable[[GanTrainer], float | None] = lambda _: None) -> Generator:
        """Trains to the end and returns the finished generator.

        Args:
            every: steps between two reports, after each of which the run is saved.
            report: called with the trainer; what it returns (a Fréchet distance) is noted.
        """
        while self.step < self.config.steps:
            with seeded(derived_seed(self.seed, 1, self.step)):
                self._train_step()
            self.step += 1
            if self.step % every == 0 or self.step == self.config.steps:
                self._note(report(self))
                self.save()
        return self.finished()

    def finished(self) -> Generator:
        """The averaged generator with the mean of w taken anew, on the CPU."""
        generator = copy.deepcopy(self.average).cpu()
        generator.mapping.w_avg.copy_(generator.mapping.w(generator.latents(_MEAN_LATENTS, seed=0)).mean(0))
        return generator

    def _train_step(self) -> None:
        warming = self.step < self.config.warmup_steps
        losses = self._warm_up(self._batch()) if warming else self._compete(self._batch())
        self._sums += torch.tensor(losses)
        self._summed += 1
        if not np.isfinite(sum(losses)):
            raise FaceVeilError(f"the losses are not finite after {self.images} photos: lower lr, or raise r1_weight.")

    def _warm_up(self, real: Tensor) -> tuple[float, float, float]:
        loss, error = warmup_loss(self.generator, self.encoder, real, self.config.warmup_divergence)
        self.warmup_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.warmup_optimizer.step()
        self._average(self.images)
        return float(error), 0.0, 0.0

    def _compete(self, real: Tensor) -> tuple[float, float, float]:
        ws = self._latents(len(real))
        fake = self.generator.synthesis(ws, "random")
        loss_d, sign = self._train_discriminator(real, fake.detach())
        loss_g = self._train_generator(fake)
        self._average(self.images - self.config.warmup_steps * self.config.batch_size)
        self._adapt(sign)
        return loss_g, loss_d, sign

    def _batch(self) -> Tensor:
        """Real photos (B, 3, R, R) in [-1, 1], every photo once an epoch."""
        size = self.config.batch_size
        epoch, place = divmod(self.step, len(self.faces) // size)
        order = np.random.default_rng([self.seed, 2, epoch]).permutation(len(self.faces))
        images = self.faces[torch.from_numpy(order[place * size : (place + 1) * size])].to(self.device)
        images = images.float().div_(127.5).sub_(1)
        if self.config.mirror:
            flipped = (torch.rand(size) < 0.5).to(self.device)[:, None, None, None]
            images = torch.where(flipped, images.flip(-1), images)
        return images

    def _latents(self, count: int) -> Tensor:
        """Latents (B, num_ws, w_dim) of fresh z, a share of them mixed from two; moves the running mean of w."""
        mapping = self.generator.mapping
        z = torch.randn(2 if self.config.style_mixing else 1, count, self.config.z_dim).to(self.device)
        w = mapping.w(z.flatten(0, 1)).view(len(z), count, -1)
        with torch.no_grad():
            mapping.w_avg.copy_(w[0].mean(0).lerp(mapping.w_avg, _W_DECAY))
        ws = w[0][:, None].expand(-1, self.generator.num_ws, -1)
        if not self.config.style_mixing:
            return ws
        cut = torch.randint(1, self.generator.num_ws, (count,))
        cut = torch.where(torch.rand(count) < self.config.style_mixing, cut, self.generator.num_ws).to(self.device)
        layers = torch.arange(self.generator.num_ws, device=self.device)
        return torch.where((layers < cut[:, None])[:, :, None], ws, w[1][:, None])

    def _train_discriminator(self, real: Tensor, fake: Tensor) -> tuple[float, float]:
        """Loss, and mean sign of the logits of real photos."""
        self.discriminator.requires_grad_(True)
        shown = augment(torch.cat([real, fake]), self.augmentation)
        logits_real, logits_fake = self.discriminator(shown).chunk(2)
        loss = discriminator_loss(logits_real, logits_fake)
        total = loss
        if self.config.r1_weight and self.step % self.config.r1_every == 0:
            seen = shown[: len(real)].detach().requires_grad_(True)
            penalty = r1_penalty(seen, self.discriminator(seen))
            total = loss + penalty * (0.5 * self.config.r1_weight * self.config.r1_every)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.discriminator_optimizer.step()
        return float(loss.detach()), float(logits_real.detach().sign().mean())

    def _train_generator(self, fake: Tensor) -> float:
        self.discriminator.requires_grad_(False)
        loss = generator_loss(self.discriminator(augment(fake, self.augmentation)))
        total = loss
        if self.config.path_weight and self.step % self.config.path_every == 0:
            penalty, self.path_mean = path_penalty(self.generator, self._latents(max(1, len(fake) // 2)), self.path_mean)
            total = loss + penalty * (self.config.path_weight * self.config.path_every)
        self.generator_optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.generator_optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def _average(self, images: int) -> None:
        """Moves the averaged generator; its half-life grows with the photos shown (arXiv 2006.06676, appendix C)."""
        half_life = max(1.0, min(self.config.ema_images, 0.05 * images))
        share = 1 - 0.5 ** (self.config.batch_size / half_life)
        for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(now, share)
        for kept, buffer in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            kept.copy_(buffer)

    def _adapt(self, sign: float) -> None:
        self._signs.append(sign)
        if len(self._signs) < _ADA_STEPS:
            return
        if self.config.ada_target:
            photos = _ADA_STEPS * self.config.batch_size
            self.augmentation = adapted(self.augmentation, float(np.mean(self._signs)), self.config.ada_target, photos)
        self._signs = []

    def _note(self, fid: float | None) -> None:
        loss_g, loss_d, sign = (self._sums / max(1, self._summed)).tolist()
        self._sums, self._summed = torch.zeros(3), 0
        line = GanProgress(
            self.images,
            self.config.steps * self.config.batch_size,
            round(loss_g, 4),
            round(loss_d, 4),
            round(sign, 4),
            round(self.augmentation, 4),
            round(self.seconds, 1),
            None if fid is None else round(fid, 4),
        )
        self.history.append(line)

    def _digest(self) -> str:
        faces = hashlib.sha256(self.faces.contiguous().view(-1).numpy().data).hexdigest()
        return content_hash(VERSION, self.config.course, self.seed, faces, length=32)

    def save(self) -> None:
        """Writes the checkpoint, all or nothing; does nothing without a file for it."""
        if self.checkpoint is None:
            return
        state = {
            **{name: part.state_dict() for name, part in self._parts().items()},
            "run": self._digest(),
            "step": self.step,
            "augmentation": self.augmentation,
            "path_mean": self.path_mean,
            "signs": self._signs,
            "seconds": self.seconds,
            "history": [asdict(line) for line in self.history],
        }
        save_checkpoint(self.checkpoint, state)

    def _load(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            run = state["run"]
        except Exception as error:  # torch.load raises many kinds
            if out_of_memory(error):
                raise  # the checkpoint is good
            raise FaceVeilError(f"checkpoint {path} cannot be read ({error}): delete it to start again.") from error
        if run != self._digest():
            raise FaceVeilError(
                f"checkpoint {path} is of another run (settings, seed or photos differ): delete it, or name another."
            )
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        if state["step"] > self.config.steps:
            raise FaceVeilError(
                f"checkpoint {path} has seen {state['step'] * self.config.batch_size} photos, more than the "
                f"{self.config.steps * self.config.batch_size} asked for: raise images, or delete it."
            )
        self.step, self.augmentation, self.path_mean = state["step"], state["augmentation"], state["path_mean"]
        self._signs, self._before = list(state["signs"]), state["seconds"]
        self.history = [GanProgress(**line) for line in state["history"]]

    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
            "encoder": self.encoder,
            "warmup_optimizer": self.warmup_optimizer,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }


def _adam(module: nn.Module, lr: float, every: int) -> torch.optim.Adam:
    """Adam whose rate and decays allow for a regulariser in every ``every``-th step (appendix B); 0: none."""
    share = every / (every + 1) if every else 1.0
    return torch.optim.Adam(module.parameters(), lr=lr * share, betas=(0.0, _BETA**share), eps=1e-8)
