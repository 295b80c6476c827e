"""The settings of one training of a generator."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from attacks.generators.stylegan2 import Generator


class GanConfig(BaseModel):
    """Everything that trained weights follow from, beside photos and seed.  Defaults train on one core in an hour or two."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resolution: PositiveInt = 64
    z_dim: PositiveInt = 64
    w_dim: PositiveInt = 128
    mapping_layers: PositiveInt = 3
    channel_base: PositiveInt = 1024
    channel_max: PositiveInt = 64
    discriminator_base: PositiveInt = 1024
    discriminator_max: PositiveInt = 64
    images: int = Field(60_000, ge=0)  # real photos shown to the discriminator, repetitions counted
    warmup_images: int = Field(40_000, ge=0)  # photos reconstructed before; see warmup.py
    warmup_lr: PositiveFloat = 0.005
    warmup_divergence: PositiveFloat = 8.0  # weight of the divergence, 1: the evidence bound
    batch_size: PositiveInt = 16
    lr: PositiveFloat = 0.0025
    r1_weight: float = Field(0.1, ge=0)  # gamma
    r1_every: PositiveInt = 16  # steps: lazy regularisation
    path_weight: float = Field(0.0, ge=0)  # 0: off; the paper's is 2
    path_every: PositiveInt = 4
    style_mixing: float = Field(0.9, ge=0, le=1)  # share of images drawn from two latents
    ema_images: PositiveInt = 5_000  # half-life of the averaged generator
    ada_target: float = Field(0.6, ge=0, lt=1)  # 0: no augmentation
    mirror: bool = False  # photos are flipped at random

    def generator(self) -> Generator:
        """A generator of these settings with random weights."""
        return Generator(self.resolution, self.z_dim, self.w_dim, self.mapping_layers, self.channel_base, self.channel_max)

    @property
    def course(self) -> dict[str, Any]:
        """What every step follows from: all but ``images``, so that a longer training continues where a shorter one ended."""
        return self.model_dump(mode="json", exclude={"images"})

    @property
    def warmup_steps(self) -> int:
        """Optimiser steps of the warm-up."""
        return self.warmup_images // self.batch_size

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.warmup_steps + self.images // self.batch_size
