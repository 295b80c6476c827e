"""What a generator is worth: how far its faces lie from real ones, and whether it can hold a face that it never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.generators.plain import PlainGenerator
from attacks.generators.sampling import features, sample
from attacks.generators.stylegan2 import Generator
from attacks.shared.latents import Descent, fitted
from benchmark.data.populations import HELD_OUT, Populations
from benchmark.evaluation.inversion.panel import Judge, embed_photos
from benchmark.evaluation.inversion.template_metrics import Targets, View, distribution_metrics, template_metrics
from benchmark.interfaces import Photos
from benchmark.records.results import Metric
from benchmark.runtime.seeding import seeded

FID_SAMPLES = 2_000
FID_SEED, PROJECTION_SEED = 2, 3
SHOWN = ("rank1", "rank10", "type1_tar@far=1e-2", "type2_tar@far=1e-2")  # of what the panel says about a projection
_SCALES = 4  # of the pyramid on which projections are compared
_POOL = 512  # random latents from which a projection starts
_BATCH = 50


@dataclass(frozen=True)
class Probes:
    """Held-out people: ``photos`` (N) one of each, and ``gallery`` the other photos of all of them."""

    photos: Photos
    gallery: Photos
    targets: Targets


def probes(populations: Populations, people: int, seed: int = PROJECTION_SEED) -> Probes:
    """Up to ``people`` held-out people, whom neither the generator nor any judge has seen; all of them are in the gallery."""
    identity = np.asarray(populations.queried.identity)
    positions = {int(p): np.flatnonzero(identity == p) for p in np.unique(identity[populations.side == HELD_OUT])}
    chosen = np.sort(np.random.default_rng(seed).permutation(list(positions))[:people])
    others = np.concatenate([rows[1:] for rows in positions.values()])
    return Probes(
        populations.queried.take(np.array([positions[int(p)][0] for p in chosen])),
        populations.queried.take(others),
        Targets(chosen, np.ones(len(chosen), bool), identity[others]),
    )


def project(
    generator: Generator | PlainGenerator,
    images: Tensor,
    *,
    steps: int,
    lr: float = 0.05,
    step: Callable[[str], None] = lambda _text: None,
) -> Tensor:
    """The images (N, 3, R, R) in W+ that come nearest to ``images``, float in [0, 1], by their pixels alone.

    Squared differences on a pyramid of means, so that shapes are found before details; from the best of some random latents.
    No backbone takes part: what the panel recognises afterwards is what the generator can hold.
    """
    wanted, found = fitted(images, generator.resolution), []
    with torch.no_grad(), seeded(PROJECTION_SEED):
        pool = generator.mapping(torch.randn(_POOL, generator.z_dim).to(images.device))
        drawn = torch.cat([generator.images(part) for part in pool.split(_BATCH)])
        distance = torch.cdist(F.avg_pool2d(wanted, 4).flatten(1), F.avg_pool2d(drawn, 4).flatten(1))
        starts = pool[distance.argmin(1)]
    for batch in torch.arange(len(wanted)).split(_BATCH):
        step(f"projecting faces {int(batch[0])} to {int(batch[-1]) + 1} of {len(wanted)}")
        pyramid = _pyramid(wanted[batch])

        def loss(latents: Tensor, rows: Tensor, pyramid: Sequence[Tensor] = pyramid) -> Tensor:
            levels = _pyramid(generator.images(latents))
            return torch.stack([(a - b[rows]).square().flatten(1).mean(1) for a, b in zip(levels, pyramid, strict=True)]).sum(0)

        latents, _trace = Descent(steps, lr, drop=0.75).run(starts[batch], loss)
        with torch.no_grad():
            found.append(generator.images(latents))
    return torch.cat(found)


def _pyramid(images: Tensor) -> list[Tensor]:
    """The images, and their means over squares of 2, 4 and 8 pixels."""
    levels = [images]
    while len(levels) < _SCALES and levels[-1].shape[-1] > 1:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def spread(faces: Tensor, most: int = FID_SAMPLES) -> Tensor:
    """At most ``most`` of the faces, evenly spread over the people."""
    return faces[torch.from_numpy(_evenly(len(faces), most))]


def _evenly(count: int, most: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def distributions(
    generator: Generator | PlainGenerator, judges: Sequence[Judge], populations: Populations
) -> dict[str, dict[str, Metric]]:
    """By judge: Fréchet distance, precision, recall, density and coverage of samples against the faces that were learned.

    ``floor`` is the Fréchet distance of as many photos of people asked about from those faces: what a perfect generator
    of other people would have.  Features have unit length.
    """
    public, other = populations.auxiliary, populations.queried
    rows = _evenly(len(public), min(FID_SAMPLES, len(other)))
    drawn = fitted(sample(generator, len(rows), FID_SEED), populations.track.image_size)
    found = {}
    for judge in judges:
        real = features(judge.target, public.load(rows))
        person = np.asarray(public.identity)[rows]
        metrics = distribution_metrics(real, features(judge.target, drawn), person, seed=FID_SEED)
        strangers = features(judge.target, other.load(_evenly(len(other), len(rows))))
        metrics["floor"] = distribution_metrics(real, strangers, person, seed=FID_SEED)["fid"]
        found[judge.name] = metrics
    return found


def recognition(images: Tensor, known: Probes, judges: Sequence[Judge]) -> dict[str, Metric]:
    """What the judges together recognise on ``images``, one for each of the people of ``known``."""
    views = [
        View(j.calibration.thresholds, j.embed(images), *(embed_photos(j.target, p) for p in (known.photos, known.gallery)))
        for j in judges
    ]
    metrics = template_metrics(views, known.targets, seed=PROJECTION_SEED)
    # of a generator it is a description: nothing is defended here
    return {name: metrics[name].model_copy(update={"higher_is_better": None}) for name in SHOWN if name in metrics}
