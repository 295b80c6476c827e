"""``audit``: what a module of anybody's tells about the photos it was trained on, without a track."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.evaluation.audit.attempts import attacks_for, run_attack
from benchmark.evaluation.audit.blind_probes import blind_probes
from benchmark.evaluation.audit.module import target_of_module
from benchmark.evaluation.audit.observations import AuditShadow, Observations, observe
from benchmark.evaluation.audit.photo_sets import open_photo_set
from benchmark.evaluation.audit.question import Question, one_set, pose
from benchmark.evaluation.audit.report import AuditReport
from benchmark.evaluation.audit.verdicts import Scored, exposed, verdicts
from benchmark.evaluation.membership.evidence import requested
from benchmark.evaluation.recognition import utility_metrics
from benchmark.interfaces import AttackSpec, Contrast, FaceVeilError
from benchmark.metrics.verification import verification
from benchmark.protocol.registry import build_attacks
from benchmark.protocol.track import InputSpec
from benchmark.records.results import AttackResult, Metric
from benchmark.signals.answers import Embedding
from benchmark.signals.target import Target

EMBEDDING = Embedding()
ALIKE = 0.98  # mean cosine of photos of anybody above which the inputs were probably scaled wrongly


def audit(
    model: nn.Module,
    *,
    members: Any,
    nonmembers: Any,
    people: tuple[Sequence[Any], Sequence[Any]] | None = None,
    shadows: Sequence[AuditShadow] | None = None,
    public: Any = None,
    mean: Sequence[float] | float = 0.5,
    std: Sequence[float] | float = 0.5,
    transform: Callable[[Tensor], Tensor] | None = None,
    embed: Callable[[Any], Tensor] | None = None,
    size: int | tuple[int, int] | None = None,
    input_size: int | tuple[int, int] | None = None,
    attacks: Sequence[AttackSpec | str] | None = None,
    known: float = 0.5,
    seed: int = 0,
    device: torch.device | str = "cpu",
    name: str = "",
    progress: Callable[[str], None] | None = None,
) -> AuditReport:
    """Audits a headless model: blind probes first, then every membership attack that the model and the photos allow.

    Half of the people (of the photos, where nobody says who is on them) are made known to the attacker, who learns from them;
    every number is about the other half.

    Args:
        model: images (B, 3, H, W) in, an embedding (B, D) out; a copy of it is attacked.
        members: photos that it was trained on: a folder or archive, an array or tensor (N, H, W, 3) or (N, 3, H, W), a list of
            images or file names, or a Dataset of images or (image, person).  ``nonmembers``: photos that it was not trained on.
            Take both from one source: where they differ in camera, crop or codec, the blind probes will tell them apart.
        people: who is on the photos of each set, instead of what subfolders or a Dataset say.  The same name in both sets is
            the same person.  With it, attacks run that compare a person's photos, and intervals resample people.
        shadows: further models of the kind, see :class:`AuditShadow`.
        public: photos from which the attacker estimates feature statistics; default the known ones of ``nonmembers``.
        mean, std: what is subtracted from images in [0, 1], and what they are then divided by.
        transform: instead of ``mean`` and ``std``: what turns images in [0, 1], (B, 3, H, W), into what the model takes.
        embed: what turns the model's answer into an embedding (B, D), where it is not one, nor a tuple or dictionary with one.
        size: of the photos, height and width; by default the one they have, or 112 where they differ.
        input_size: what the model takes, if not ``size``: the middle is cut out where one side fits, else photos are resized.
        attacks: instead of all: specs, or texts such as ``"regrown_head:gallery=weighted"``.
        known: share of the people known to the attacker.
        seed: of the choice of the known people, and of every interval.

    Raises:
        FaceVeilError: photos that cannot be read, too few of them, a model that fails on them, unknown attacks.
    """
    tell = progress or (lambda _text: None)
    tell("reading the photos")
    names = people or (None, None)
    sets = open_photo_set(members, "members", names[0]), open_photo_set(nonmembers, "nonmembers", names[1])
    question = pose(*sets, known=known, seed=seed, size=_pair(size))
    own = transform is not None
    spec = InputSpec(
        size=_pair(input_size) or question.photos.size,
        mean=(0.0, 0.0, 0.0) if own else _triple(mean, "mean"),
        std=(1.0, 1.0, 1.0) if own else _triple(std, "std"),
    )

    def targeted(module: nn.Module) -> Target:
        return target_of_module(module, spec, embed=embed, transform=transform, device=device)

    target = targeted(model)
    given = list(shadows or ())
    specs = [_spec(a) for a in attacks or ()] or attacks_for(bool(given), all(s.offline for s in given))
    wanted = build_attacks(specs)  # an unknown name ends the audit here
    tell(f"blind probes on {len(question.photos)} photos")
    gate = blind_probes(target, question, seed)
    tell("signals of the model")
    reference = None if public is None else one_set(open_photo_set(public, "public"), question.photos.size)
    seen = observe(
        target,
        question,
        list(dict.fromkeys((EMBEDDING, *requested(wanted)))),
        public=reference,
        shadows=[(targeted(shadow.model), shadow) for shadow in given],
        shadow_requests=requested(wanted, lambda attack: attack.knowledge.uses_shadows),
        tell=tell,
    )
    if EMBEDDING.key in seen.missing:
        raise FaceVeilError(f"no embedding could be computed: {seen.missing[EMBEDDING.key]}")
    results, scored = _run(specs, seen, {c: gate.best_auc(c) for c in Contrast}, seed, tell)
    said = verdicts(question, results, scored, gate, seed)
    embeddings = np.asarray(seen.signals[EMBEDDING], np.float64)
    return AuditReport(
        name=name or type(model).__name__,
        model=type(model).__name__,
        weights_sha256=target.submission_id,
        photos=_counts(question),
        embedding_size=embeddings.shape[1],
        verdicts=said,
        blind=gate,
        attacks=results,
        exposed=exposed(scored, said, question.photos.keys),
        recognition=_recognition(embeddings, question, seed),
        notes=(*question.notes, *_oddities(embeddings, question)),
        settings={
            "known": known,
            "seed": seed,
            "device": str(device),
            "shadows": len(given),
            "input_size": list(spec.size),
            "mean": list(spec.mean),
            "std": list(spec.std),
            "transform": own,
        },
    )


def _run(
    specs: Sequence[AttackSpec], seen: Observations, blind: dict[Contrast, float], seed: int, tell: Callable[[str], None]
) -> tuple[tuple[AttackResult, ...], Scored]:
    results, scored = [], {}
    for spec in specs:
        tell(f"attack {spec.label}")
        result, scores = run_attack(spec, seen, blind=blind, seed=seed)
        results.append(result)
        scored.update({(spec.label, contrast): found for contrast, found in scores.items()})
    return tuple(results), scored


def _spec(attack: AttackSpec | str) -> AttackSpec:
    if isinstance(attack, AttackSpec):
        return attack
    name, *pairs = attack.split(":")
    return AttackSpec(name=name, settings=dict(pair.partition("=")[::2] for pair in pairs))


def _pair(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    return (size, size) if isinstance(size, int) else None if size is None else (int(size[0]), int(size[1]))


def _triple(values: Sequence[float] | float, what: str) -> tuple[float, float, float]:
    three = (float(values),) * 3 if isinstance(values, int | float) else tuple(float(v) for v in values)
    if len(three) != 3:
        raise FaceVeilError(f"{what}= takes one number, or three (red, green, blue) on images in 0..1; got {len(three)}.")
    if max(abs(v) for v in three) > 2:
        raise FaceVeilError(f"{what}={list(three)} looks like values on 0..255; divide by 255, images are in 0..1 here.")
    return three


def _counts(question: Question) -> dict[str, int]:
    seen = question.side == 0
    counts = {"photos trained on": int(seen.sum()), "photos not trained on": int((~seen).sum())}
    if question.has_people:
        counts["people"] = len(np.unique(question.identity))
    return counts


def _recognition(embeddings: np.ndarray, question: Question, seed: int) -> dict[str, Metric]:
    """How well the model recognises the people, where anybody said who they are: a model fed wrongly recognises nobody."""
    if not question.has_people or np.bincount(question.identity).max() < 2:
        return {}
    try:
        return utility_metrics(verification(embeddings, question.identity, seed=seed))
    except (FaceVeilError, ValueError):
        return {}


def _oddities(embeddings: np.ndarray, question: Question) -> list[str]:
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    n = len(unit)
    mean_cosine = float((np.square(unit.sum(0)).sum() - n) / (n * (n - 1)))
    notes = []
    if mean_cosine > ALIKE:
        notes.append(
            f"the embeddings of all photos are nearly the same (mean cosine {mean_cosine:.3f}): check mean=, std= and the crop"
        )
    if not question.has_people:
        notes.append(
            "nobody said who is on the photos: each counts as a person of its own, intervals are too narrow where people have "
            "several, and attacks that compare a person's photos were left out"
        )
    return notes
