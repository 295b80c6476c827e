"""How much a training head remembers by itself: heads trained on a backbone that stays as it was.

The head is a reference for what an attacker without it might find.  But a row of the head is a mean of the photos that it was
trained on, whatever the backbone learned.  On a frozen backbone, which knows nothing of the photos, every bit that the head
gives away is the head's own, and no attack on the backbone alone can reach it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from attacks.shared.centres import log_sum, regrow, unit
from attacks.shared.shadow_calibration import lira
from benchmark.interfaces import FaceVeilError, Photos
from benchmark.metrics.intervals import bootstrap_over_identities
from benchmark.metrics.roc import roc
from benchmark.models.heads import build_head
from benchmark.protocol.track import HeadSpec, TrainingConfig
from benchmark.records.results import Metric
from benchmark.signals.answers import Embedding
from benchmark.signals.extraction import extract
from benchmark.signals.target import Target

VIEWS = (Embedding(), Embedding(view="flip"))


class HeadMemory(BaseModel):
    """AUC of seen against unseen photos, pooled over heads; each head has its own random half of everybody's photos."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    people: int
    photos: int  # a person
    heads: int
    epochs: int
    lr: float
    seed: int
    plain: Metric  # the head's log-odds
    lira: Metric  # the same, calibrated by the other heads
    regrown: Metric  # the head regrown from embeddings of the frozen backbone: chance, whoever was drawn


def choose(identity: np.ndarray, people: int, photos: int, seed: int) -> np.ndarray:
    """Positions of ``photos`` photos each of ``people`` random people who have that many, sorted by person.

    Raises:
        FaceVeilError: too few such people.
    """
    rng = np.random.default_rng([seed, 15])
    names, count = np.unique(identity, return_counts=True)
    enough = names[count >= photos]
    if len(enough) < people:
        raise FaceVeilError(f"{people} people of {photos} photos asked for, and {len(enough)} have that many: ask for fewer.")
    drawn = np.sort(rng.permutation(enough)[:people])
    return np.concatenate([rng.permutation(np.flatnonzero(identity == person))[:photos] for person in drawn])


def head_memory(
    target: Target, photos: Photos, *, people: int, each: int, heads: int, config: TrainingConfig, seed: int
) -> HeadMemory:
    """Trains ``heads`` heads on embeddings of ``target`` (photos and their mirror images) and attacks each with the others.

    Args:
        people: how many, with ``each`` photos, of which half are seen.
        config: epochs, batch size, peak rate, momentum and weight decay; the rate falls by a cosine.

    Raises:
        FaceVeilError: too few people or heads.
    """
    if heads < 3 or each < 2:
        raise FaceVeilError("the memory of heads needs at least three heads, and two photos per person.")
    rows = choose(np.asarray(photos.identity), people, each, seed)
    signals = extract(target, photos.take(rows), VIEWS)
    embeddings = np.stack([np.asarray(signals[r], np.float32) for r in VIEWS])
    person = np.repeat(np.arange(people), each)
    half = np.arange(people * each) % each < each // 2
    rng = np.random.default_rng([seed, 16])
    seen = np.stack([half[np.argsort(rng.random(len(half)) + person, kind="stable")] for _ in range(heads)])
    scores = np.stack([_log_odds(embeddings, person, seen[k], config, seed + k) for k in range(heads)])
    ratio = np.stack([lira(scores[k], np.delete(scores, k, 0), np.delete(seen, k, 0)) for k in range(heads)])
    regrown = np.tile(regrow(unit(embeddings[0].astype(np.float64)), person, 32.0).log_odds, (heads, 1))

    def metric(values: np.ndarray) -> Metric:
        flat, label = values.ravel(), seen.ravel()
        targets = np.repeat(np.arange(heads), len(person))
        estimate = bootstrap_over_identities(
            lambda w: roc(flat, label, w).auc(), np.tile(person, heads), targets=targets, seed=seed
        )
        return Metric.of(estimate, higher_is_better=None)

    return HeadMemory(
        people=people, photos=each, heads=heads, epochs=config.epochs, lr=config.lr, seed=seed,
        plain=metric(scores), lira=metric(ratio), regrown=metric(regrown),
    )  # fmt: skip


def _log_odds(embeddings: np.ndarray, person: np.ndarray, seen: np.ndarray, config: TrainingConfig, seed: int) -> np.ndarray:
    """(N,) log-odds of each photo's own class under a head trained on the seen ones, mirrored half the time."""
    views, label = torch.from_numpy(embeddings), torch.from_numpy(person)
    rng = np.random.default_rng([seed, 17])
    generator = torch.Generator().manual_seed(seed)
    head = build_head(HeadSpec(), views.shape[-1], int(person.max()) + 1, generator)
    optimizer = torch.optim.SGD(head.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs)
    trained = np.flatnonzero(seen)
    for _ in range(config.epochs):
        for batch in np.array_split(rng.permutation(trained), max(1, len(trained) // config.batch_size)):
            photos: Tensor = views[rng.integers(0, len(views), len(batch)), batch]
            optimizer.zero_grad()
            F.cross_entropy(head(photos, label[batch]), label[batch]).backward()
            optimizer.step()
        schedule.step()
    with torch.inference_mode():
        logits = head.cosine_logits(views[0]).numpy().astype(np.float64)
    row = np.arange(len(person))
    own = logits[row, person].copy()
    logits[row, person] = -np.inf
    result: np.ndarray = own - log_sum(logits)
    return result
