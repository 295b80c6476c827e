"""One inversion attack, run in chunks that are saved as they are done.

A chunk's file is named after everything it depends on, and its randomness follows from the seed and its number: a run that
was interrupted resumes at the first missing chunk and ends in the same images.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data.populations import Populations
from benchmark.evaluation.inversion.guides import Guides
from benchmark.evaluation.inversion.kinship import of_one_origin
from benchmark.evaluation.inversion.panel import embed_photos
from benchmark.evaluation.verified import all_known
from benchmark.interfaces import (
    Access,
    AttackSpec,
    FaceGenerator,
    FaceVeilError,
    Goal,
    ImageFunction,
    InversionAttack,
    InversionContext,
    InversionOutput,
    NotApplicableError,
    Photos,
    SimilarityScores,
    content_hash,
)
from benchmark.protocol.registry import build_inversion
from benchmark.runtime.checked import intact, writing
from benchmark.runtime.memory import Measure, peak_memory
from benchmark.runtime.progress import ProgressCallback
from benchmark.runtime.seeding import derived_seed, seeded
from benchmark.signals.target import Target
from benchmark.submissions.submission import Submission
from benchmark.training.shadows import Shadow, ShadowPool

REBUILDING_VERSION = 2  # part of every chunk's name: raise it when an attack's images change


@dataclass(frozen=True)
class InversionImages:
    """What an attack made: ``images`` uint8 (N, 3, S, S); ``trace`` of its first chunk; what it cost."""

    images: Tensor
    trace: tuple[float, ...]
    queries: int
    seconds: float
    peak_memory_mb: float
    memory_measure: Measure
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(np.ascontiguousarray(self.images.numpy()).tobytes()).hexdigest()


@dataclass(frozen=True)
class InversionRunner:
    """Runs inversion attacks on one submission.

    Args:
        generator: the attacker's, frozen, with the digest of its file; None where the track has none.
        chunk: images made together.
        init: the weights that a fine-tuned target, and its shadows, started from.
        encoder: a backbone that the attacker holds, instead of one trained on the track's public people.
        cache: signals and shadow backbones; chunks go to its folder ``inversions``.
    """

    submission: Submission
    populations: Populations
    cache: Path
    seed: int
    chunk: int
    device: torch.device | str = "cpu"
    generator: FaceGenerator | None = None
    generator_digest: str = ""
    init: Submission | None = None
    encoder: Submission | None = None
    step: Callable[[str], None] = lambda _text: None
    training: ProgressCallback | None = None

    def run(self, spec: AttackSpec, goal: Goal, count: int, sources: Photos | None = None) -> InversionImages:
        """``count`` images; for the goal ``template`` one for each of ``sources``, whose templates leak.

        Raises:
            NotApplicableError: the attack lacks something; the text says what.
            FaceVeilError: images of another shape, not finite or out of [0, 1].
        """
        attack = build_inversion(spec)
        folder = self.cache / "inversions" / self._name(spec, goal, count, sources)
        templates = None if sources is None else self._templates(sources)
        parts = []
        for number, start in enumerate(range(0, count, self.chunk)):
            path = folder / f"{number:04d}.npz"
            if not intact(path):
                self.step(f"{spec.label}: {goal.value}, images {start} to {min(start + self.chunk, count)} of {count}")
                rows = torch.arange(start, min(start + self.chunk, count))
                self._save(path, attack, goal, rows, templates, derived_seed(self.seed, 301, number))
            with np.load(path, allow_pickle=False) as saved:
                parts.append({name: saved[name] for name in saved.files})
        return InversionImages(
            images=torch.from_numpy(np.concatenate([p["images"] for p in parts])),
            trace=tuple(float(v) for v in parts[0]["trace"]),
            queries=sum(int(p["queries"]) for p in parts),
            seconds=sum(float(p["seconds"]) for p in parts),
            peak_memory_mb=max(float(p["memory"]) for p in parts),
            memory_measure=_one_measure(parts),
            notes=tuple(dict.fromkeys(str(note) for p in parts for note in p["notes"])),
        )

    def _name(self, spec: AttackSpec, goal: Goal, count: int, sources: Photos | None) -> str:
        card, track = self.submission.card, self.populations.track
        name = content_hash(
            REBUILDING_VERSION,
            spec.model_dump(mode="json"),
            goal.value,
            [self.submission.submission_id, card.backbone.model_dump(mode="json"), card.input.model_dump(mode="json")],
            [count, self.chunk, self.seed, sources.digest if sources is not None else None],
            [self.generator_digest, self.populations.auxiliary.digest, self.populations.split_digest],
            *([self.encoder.submission_id] if self.encoder is not None else []),
            track.settings("image_size", "roles", "split_seed", "partial_share", "shadows", "head", "training"),
        )
        return f"{spec.name}-{goal.value}-{name}"

    def _templates(self, sources: Photos) -> Tensor:
        """What leaked: embeddings as the deployed system returned them."""
        target = Target(self.submission, Access.EMBEDDING, self.device)
        return torch.from_numpy(embed_photos(target, sources)).to(self.device)

    def _save(self, path: Path, attack: InversionAttack, goal: Goal, rows: Tensor, templates: Tensor | None, seed: int) -> None:
        target = Target(self.submission, attack.required_access(), self.device)
        started = time.perf_counter()
        with target.counting() as queries, seeded(seed), peak_memory() as memory:
            made = attack.invert(self._context(attack, goal, target, rows, templates, seed))
        images = self._checked(attack, made, len(rows))
        with writing(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                images=images.numpy(),
                trace=np.asarray(made.trace, np.float32),
                notes=np.array(list(made.notes), dtype=np.str_),
                queries=queries.images,
                seconds=time.perf_counter() - started,
                memory=memory.mb,
                measure=memory.measure,
            )

    def _checked(self, attack: InversionAttack, made: InversionOutput, count: int) -> Tensor:
        """The images as uint8, as a picture file would hold them."""
        side = self.populations.track.image_size
        images = made.images.detach().float().cpu()
        if images.shape != (count, 3, side, side):
            expected = (count, 3, side, side)
            raise FaceVeilError(f"attack {attack.name!r} returned images {tuple(images.shape)}, not {expected}.")
        broken = ~torch.isfinite(images).flatten(1).all(1)
        if broken.any():
            raise FaceVeilError(f"attack {attack.name!r}: {int(broken.sum())} of {count} images are not finite.")
        if images.min() < -1e-4 or images.max() > 1 + 1e-4:
            low, high = images.min().item(), images.max().item()
            raise FaceVeilError(f"attack {attack.name!r} returned values from {low:.3g} to {high:.3g}; images lie in [0, 1].")
        return (images.clamp(0, 1) * 255).round().to(torch.uint8)

    def _context(
        self, attack: InversionAttack, goal: Goal, target: Target, rows: Tensor, templates: Tensor | None, seed: int
    ) -> InversionContext:
        access = attack.required_access()
        leaked = templates[rows] if templates is not None else None
        inside = access.allows(Access.WEIGHTS)
        return InversionContext(
            goal=goal,
            target=target,
            count=len(rows),
            image_size=self.populations.track.image_size,
            public=self.populations.auxiliary,
            seed=seed,
            device=torch.device(self.device),
            generator=self.generator,
            generator_training=self.populations.auxiliary if self.generator is not None else None,
            templates=leaked if access.allows(Access.EMBEDDING) else None,
            similarity=_similarity(target, leaked) if leaked is not None else None,
            classes=self._classes(rows) if access.allows(Access.HEAD) and goal == Goal.TRAINING_IDENTITIES else None,
            guide=Guides(target, self.populations, self._shadows, self.cache / "signals") if inside else None,
            surrogate=self._surrogate,
        )

    def _classes(self, rows: Tensor) -> Tensor:
        """Classes of the training head, one for each image: those of the members asked about, in turn."""
        people = np.unique(np.asarray(self.populations.seen.identity))
        labelled = np.unique(np.asarray(self.populations.queried.identity)[self.populations.labelled])
        asked = np.flatnonzero(~np.isin(people, labelled))
        return torch.from_numpy(asked[rows.numpy() % len(asked)])

    def _shadows(self) -> Iterable[Shadow]:
        """Auxiliary shadows under the target's own defence, where it is known here."""
        pool = ShadowPool(self.populations, self.cache / "shadows", self.device)
        card = self.submission.card
        if not all_known(card):
            return ()
        return pool.auxiliary(card.defenses, card.backbone, init=self.init, progress=self.training)

    def _surrogate(self) -> ImageFunction:
        """The attacker's own backbone: the one held, or an undefended one trained on public people, the first shadow.

        Raises:
            NotApplicableError: the track's budget gives none, or the one held is of the attacked model's own origin.
        """
        if self.encoder is not None:
            if of_one_origin(self.encoder.weights, self.submission.weights):
                raise NotApplicableError("the attacker's encoder is the attacked model, or shares its origin.")
            return Target(self.encoder, Access.WEIGHTS, self.device).features
        pool = ShadowPool(self.populations, self.cache / "shadows", self.device)
        for recipe in pool.undefended(self.init):
            return Target(pool.trained(recipe, self.training), Access.WEIGHTS, self.device).features
        raise NotApplicableError("the track's budget gives the attacker no backbone of their own to validate with.")


def _one_measure(parts: Sequence[Mapping[str, np.ndarray]]) -> Measure:
    """The measure of chunks' memory; of chunks that were measured differently, or before there were measures, no more is known
    than that none needed more than its process held."""
    found = {str(part.get("measure", "process")) for part in parts}
    return cast(Measure, found.pop()) if len(found) == 1 else "process"


def _similarity(target: Target, templates: Tensor) -> SimilarityScores:
    """Scores of a matcher that keeps the templates to itself; its images count as the target's queries."""
    deployed = target.with_access(Access.EMBEDDING)

    def score(images: Tensor, number: Tensor) -> Tensor:
        with torch.no_grad():
            return F.cosine_similarity(deployed.embed(images), templates[number])

    return score
