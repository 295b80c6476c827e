"""A track so small that a defended training takes a second."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.interfaces import BackboneSpec, Defense, ReleaseContext, content_hash
from benchmark.models.backbones import create
from benchmark.models.heads import build_head
from benchmark.protocol.track import Budget, HeadSpec, InputSpec, Roles, Track, TrainingConfig
from benchmark.runtime.seeding import seeded, weights_digest
from benchmark.training.pipeline import Trainer

SIZE, PEOPLE, PHOTOS = 32, 5, 6


class NoisyPeople:
    """Photos of people as coloured noise, held in memory; one fixed pattern a person plus noise a photo."""

    def __init__(self, people: int = PEOPLE, photos: int = PHOTOS, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        patterns = torch.rand(people, 3, SIZE, SIZE, generator=generator).repeat_interleave(photos, 0)
        noise = 0.2 * torch.randn(patterns.shape, generator=generator)
        self.pixels = ((patterns + noise).clamp(0, 1) * 255).to(torch.uint8)
        self.identity = np.repeat(np.arange(people), photos)
        self.keys = [f"{person}/{number}" for person in range(people) for number in range(photos)]
        self.digest = content_hash("noisy people", people, photos, seed)

    def __len__(self) -> int:
        return len(self.identity)

    def load(self, index: np.ndarray) -> torch.Tensor:
        return self.pixels[torch.as_tensor(np.asarray(index))]

    def take(self, index: np.ndarray) -> NoisyPeople:
        """Some of the photos."""
        taken = copy.copy(self)
        taken.pixels, taken.identity = self.pixels[torch.as_tensor(np.asarray(index))], self.identity[index]
        taken.keys = [self.keys[i] for i in np.arange(len(self))[index]]
        taken.digest = content_hash(self.digest, taken.keys)
        return taken


@pytest.fixture(scope="session")
def photos() -> NoisyPeople:
    return NoisyPeople()


@pytest.fixture(scope="session")
def public() -> NoisyPeople:
    """Other people than ``photos`` shows."""
    return NoisyPeople(people=30, photos=4, seed=1)


@pytest.fixture
def context(photos: NoisyPeople, public: NoisyPeople) -> Callable[..., ReleaseContext]:
    """What a ``release`` stage is given, with some of it exchanged."""

    def make(seed: int = 0, **changes) -> ReleaseContext:
        given = ReleaseContext(photos, public, InputSpec(size=(SIZE, SIZE)), seed, torch.device("cpu"))
        return replace(given, **changes)

    return make


@pytest.fixture(scope="session")
def trained(track: Track, photos: NoisyPeople) -> nn.Module:
    """A backbone trained on ``photos`` for a few epochs, with statistics of its own; copy it before changing it."""
    with seeded(0):
        backbone = create(track.backbone.name, {**track.backbone.kwargs, "input_size": [SIZE, SIZE]})
    head = build_head(HeadSpec(), 16, PEOPLE, torch.Generator().manual_seed(0))
    Trainer(backbone, head, photos, track.training, InputSpec(size=(SIZE, SIZE)), seed=0).run()
    return backbone.eval()


@pytest.fixture(scope="session")
def track() -> Track:
    roles = Roles(pool=2 * PEOPLE, photos=2 * PHOTOS, verification=5, auxiliary=5, judges=5)
    return Track(
        name="tiny",
        summary="for tests",
        source="synthetic",
        image_size=SIZE,
        roles=roles,
        backbone=BackboneSpec(name="iresnet_slim", kwargs={"width": 0.125, "embedding_size": 16, "layers": [1, 1, 1, 1]}),
        head=HeadSpec(),
        training=TrainingConfig(epochs=4, batch_size=10),
        attacks=(),
        budget=Budget(cpu_minutes=1),
    )


@pytest.fixture
def assert_resumes(make_trainer, tmp_path) -> Callable[..., None]:
    """Checks that a run killed after its third epoch ends in the weights of one that was not, with a global state between."""

    def check(defense: Defense, **kwargs) -> None:
        class Killed(Exception):
            pass

        lines = []

        def kill(line) -> None:
            lines.append(line)
            if len(lines) == 3:
                raise Killed

        whole = make_trainer(defense, **kwargs)
        defense.fit(whole)
        path = tmp_path / "run" / "checkpoint.pt"
        with pytest.raises(Killed):
            defense.fit(make_trainer(defense, checkpoint=path, progress=kill, **kwargs))
        torch.manual_seed(99)
        resumed = make_trainer(defense, checkpoint=path, **kwargs)
        defense.fit(resumed)
        assert weights_digest(resumed.backbone) == weights_digest(whole.backbone)
        assert [line.loss for line in resumed.history] == [line.loss for line in whole.history]

    return check


@pytest.fixture
def make_trainer(track: Track, photos: NoisyPeople) -> Callable[..., Trainer]:
    """A trainer of the tiny track, as ``train_backbone`` would build it."""

    def make(defense: Defense, *, seed: int = 0, head: str = "arcface", checkpoint: Path | None = None, **kwargs) -> Trainer:
        spec = defense.prepare(track.backbone)
        with seeded(seed):
            backbone = create(spec.name, {**spec.kwargs, "input_size": [SIZE, SIZE]})
        built = build_head(HeadSpec(name=head), 16, PEOPLE, torch.Generator().manual_seed(seed))
        config = kwargs.pop("config", track.training)
        return Trainer(
            kwargs.pop("backbone", backbone),
            built,
            kwargs.pop("photos", photos),
            config,
            InputSpec(size=(SIZE, SIZE)),
            seed=seed,
            defense=defense,
            checkpoint=checkpoint,
            **kwargs,
        )

    return make
