"""What ``faceveil generator`` does: training on a track's public people, a check of what came out, import, and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from attacks.generators.config import GanConfig
from attacks.generators.files import load_generator, save_generator, trained_here
from attacks.generators.opening import open_generator
from attacks.generators.plain import PlainGenerator
from attacks.generators.quality import FID_SAMPLES, FID_SEED, distributions, probes, project, recognition, spread
from attacks.generators.sampling import features, sample, write_grid
from attacks.generators.stylegan2 import Generator
from attacks.generators.training import GanTrainer, load_faces
from attacks.shared.latents import fitted
from benchmark.data.populations import Populations, open_populations
from benchmark.evaluation.inversion.panel import open_panel
from benchmark.evaluation.inversion.pictures import check_may_show
from benchmark.interfaces import Access, FaceVeilError, content_hash
from benchmark.metrics.frechet import frechet_distance
from benchmark.protocol.track import Track
from benchmark.records.results import Metric
from benchmark.runtime.home import cache_dir
from benchmark.runtime.progress import Progress, ProgressCallback
from benchmark.signals.target import Target
from benchmark.submissions.checkpoint_import import open_weights
from benchmark.submissions.submission import Submission
from benchmark.training.shadows import ShadowPool

GRID = (6, 8)  # rows and columns of the pictures drawn while training
GRID_SEED = 1
LARGEST_DEFAULT = 64  # pixels: what trains on a CPU


def configured(track: Track, settings: Mapping[str, Any]) -> GanConfig:
    """The settings of a training: the track's size, at most 64 pixels and a power of two, unless ``settings`` say otherwise.

    Raises:
        FaceVeilError: settings that do not exist or are out of range.
    """
    fitting = 1 << (min(track.image_size, LARGEST_DEFAULT).bit_length() - 1)
    try:
        return GanConfig(**{"resolution": fitting, **settings})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors())
        raise FaceVeilError(f"generator settings: {problems}. Settings: {', '.join(GanConfig.model_fields)}.") from None


def train(
    track: Track,
    data: Path | None,
    *,
    out: Path | None,
    seed: int,
    settings: Mapping[str, Any],
    features_of: str,
    every: int,
    device: str,
    report: Progress,
) -> dict[str, Any]:
    """Trains a generator on the auxiliary people of a track and writes it; an interrupted or shorter run is continued.

    Args:
        out: file to write; None: where attacks on this machine look for it.
        features_of: whose features the Fréchet distance is taken on: a path of weights, ``auxiliary`` (a backbone trained on
            the track's public people, made where it is missing) or ``none``.
        every: real photos between two reports: a picture, a Fréchet distance, a checkpoint.

    Returns:
        What the command reports.
    """
    config = configured(track, settings)
    report.step("opening the photos")
    populations = open_populations(track, data, cache_dir() / "photos")
    faces = load_faces(populations.auxiliary, config.resolution)
    judge = _judge(populations, features_of, device, report)
    real = None if judge is None else features(judge, spread(faces))
    folder = cache_dir() / "generators" / content_hash(config.course, seed, populations.auxiliary.digest)
    trainer = GanTrainer(faces, config, seed=seed, device=device, checkpoint=folder / "checkpoint.pt")
    report.step(f"training on {len(faces)} photos; pictures and checkpoint in {folder}")

    def look(now: GanTrainer) -> float | None:
        average = now.average
        write_grid(sample(average, GRID[0] * GRID[1], GRID_SEED), GRID[1], folder / f"{now.images:08d}.png")
        fid = (
            None
            if judge is None or real is None
            else frechet_distance(real, features(judge, sample(average, len(real), FID_SEED)))
        )
        report.step(
            f"{now.images}/{config.steps * config.batch_size} photos, {now.seconds:.0f} s, augmentation {now.augmentation:.2f}"
            + ("" if fid is None else f", FID on our features {fid:.4f}")
        )
        return fid

    generator = trainer.run(every=max(1, every // config.batch_size), report=look)
    path = trained_here(track.name) if out is None else out
    written = _write(generator, path, trainer, populations, features_of)
    return {**written, "pictures": str(folder)}


def _judge(populations: Populations, features_of: str, device: str, report: Progress) -> Target | None:
    if features_of == "none":
        return None
    if features_of != "auxiliary":
        return Target(open_weights(Path(features_of)), Access.EMBEDDING, device)
    report.step("a backbone trained on public people, for the Fréchet distance")
    pool = ShadowPool(populations, cache_dir() / "shadows", device)
    recipe = next(iter(pool.undefended()), None)
    if recipe is None:
        raise FaceVeilError(
            f"track {populations.track.name!r} has no backbone trained on public people; give weights or say none."
        )
    return Target(pool.trained(recipe), Access.EMBEDDING, device)


def _write(generator: Generator, path: Path, trainer: GanTrainer, populations: Populations, features_of: str) -> dict[str, Any]:
    config = trainer.config
    changed = config.model_dump(mode="json", exclude_defaults=True)
    options = "".join(f" --set {name}={json.dumps(value)}" for name, value in changed.items())
    data = "" if populations.track.source == "synthetic" else " --data PATH"
    command = f"faceveil generator train --track {populations.track.name}{data} --seed {trainer.seed}{options}"
    facts = {
        "command": command,
        "seed": str(trainer.seed),
        "track": populations.track.name,
        "faces": populations.auxiliary.digest,
        "people": f"{len(np.unique(populations.auxiliary.identity))} auxiliary people, {len(trainer.faces)} photos",
        "images": str(trainer.images),
        "seconds": f"{trainer.seconds:.0f}",
        "torch": torch.__version__,
    }
    fid = trainer.history[-1].fid if trainer.history else None
    if fid is not None:
        count = min(FID_SAMPLES, len(trainer.faces))
        facts["fid"] = f"{fid:.4f} on {count} real and {count} drawn faces, features of {features_of}"
    save_generator(generator, path, facts, half=True)
    return {"out": str(path), "megabytes": round(path.stat().st_size / 1e6, 2), **facts}


def import_(source: Path, out: Path) -> dict[str, Any]:
    """Reads a published checkpoint, tensors only, and writes it as safetensors.

    Raises:
        FaceVeilError: see :func:`attacks.generators.files.load_generator`.
    """
    generator = load_generator(source)
    if isinstance(generator, PlainGenerator):
        raise FaceVeilError(f"{source} is not a StyleGAN2: it needs no import; pass it as it is with `--generator {source}`.")
    save_generator(generator, out, {"imported_from": source.name})
    return {"out": str(out), **generator.config, "parameters": sum(p.numel() for p in generator.parameters())}


def preview(path: Path, out: Path, *, rows: int, columns: int, seed: int, truncation: float) -> dict[str, Any]:
    """Draws a picture of samples."""
    generator = load_generator(path)
    scale = max(1, 128 // generator.resolution)
    write_grid(sample(generator, rows * columns, seed, truncation), columns, out, scale)
    plain = {"z_dim": generator.z_dim, "resolution": generator.resolution}
    config = plain if isinstance(generator, PlainGenerator) else generator.config
    return {"out": str(out), **config, **generator.metadata}


def check(
    track: Track,
    data: Path | None,
    path: Path | None,
    *,
    judges: Sequence[Submission],
    people: int,
    steps: int,
    picture: Path | None,
    device: str,
    report: Progress,
    training: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Measures a generator under the track's panel: its samples against real faces, and held-out faces projected into W+.

    Args:
        path: the generator; None: the one that attacks on this track hold.
        judges: beside the track's.
        people: held-out people whose faces are projected, in ``steps`` steps.
        picture: PNG of faces beside their projections; synthetic tracks only.

    Returns:
        ``distribution`` by judge, and ``projection``: what the judges together recognise on the projections, on ``random``
        latents and on the ``photo`` itself; ``rmse`` in grey levels of 255.

    Raises:
        FaceVeilError: no generator; no judge that can recognise people; a picture of real people.
    """
    if picture is not None:
        check_may_show(track)
    generator, name, digest = open_generator(track.name, track.image_size, path, device)
    report.step("opening the photos")
    populations = open_populations(track, data, cache_dir() / "photos")
    panel = open_panel(populations, cache_dir(), device=device, extra=judges, step=report.step, training=training)
    if not panel.usable:
        raise FaceVeilError(f"no judge of track {track.name!r} can recognise people: {panel.judges[0].reason}.")
    report.step("samples against real faces")
    distribution = distributions(generator, panel.usable, populations)
    known = probes(populations, people)
    photos = known.photos.load(np.arange(len(known.photos)))
    real = photos.to(device).float().div(255)
    made = fitted(project(generator, real, steps=steps, step=report.step), track.image_size).cpu()
    drawn = fitted(sample(generator, len(known.photos), FID_SEED), track.image_size)
    if picture is not None:
        pairs = torch.stack([photos.float().div(255), made], 1).flatten(0, 1)
        write_grid(pairs[: 2 * GRID[0] * GRID[1]], 2 * GRID[1], picture)
    rmse = (made - photos.float().div(255)).square().mean().sqrt().item() * 255
    shown = {"projected": made, "random": drawn, "photo": photos}
    return {
        "generator": name,
        "sha256": digest,
        "judges": [j.name for j in panel.usable],
        "distribution": {j: _dumped(metrics) for j, metrics in distribution.items()},
        "projection": {what: _dumped(recognition(images, known, panel.usable)) for what, images in shown.items()},
        "people": len(known.photos),
        "gallery": len(np.unique(known.targets.gallery)),
        "steps": steps,
        "rmse": round(rmse, 2),
    }


def _dumped(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    return {name: metric.model_dump(mode="json") for name, metric in metrics.items()}
