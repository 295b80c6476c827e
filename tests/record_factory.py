"""Small realistic records for tests of the store, of exports and of the leaderboard.

Numbers follow the equal-variance binormal model: an advantage a is a shift d with a = 2 Phi(d/2) - 1, and AUC = Phi(d/sqrt 2).
Replicates are paired as real ones are: records of one track share the noise of the resampled people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from benchmark.interfaces import AttackSpec, BackboneSpec, Contrast, DefenseSpec, PluginInfo, content_hash
from benchmark.protocol.track import PROTOCOL_VERSION, InputSpec
from benchmark.records.record import Provenance, Record
from benchmark.records.results import AttackResult, ContrastResult, Gate, GateProbe, Headline, Metric
from benchmark.submissions.card import Card
from benchmark.submissions.report import Flag

BLIND_AUC = 0.505
FAMILIES = {"undefended": "none", "bn_perturbation": "bn_statistics", "dp_sgd": "dp", "early_stopping": "training"}
# attack, its settings, access, share of the headline's leakage on the sample and on the identity contrast
ATTACKS: tuple[tuple[str, dict[str, Any], str, float, float], ...] = (
    ("regrown_head", {}, "embedding", 1.0, 0.4),
    ("bn_distance", {"statistics": "stored"}, "weights", 0.5, 0.2),
    ("embedding_norm", {}, "embedding", 0.2, 0.1),
)


def _seed(*parts: Any) -> int:
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16)


def metric(value: float | None, spread: float, n: int, **fields: Any) -> Metric:
    """A metric with a 95 % interval of half-width ``spread``, kept in [0, 1]."""
    if value is None:
        return Metric(value=None, n=n, **fields)
    low, high = float(np.clip(value - spread, 0, 1)), float(np.clip(value + spread, 0, 1))
    return Metric(value=float(value), low=low, high=high, n=n, method="BCa", **fields)


def contrast_result(contrast: Contrast, advantage: float, people: int = 200, photos: int = 600) -> ContrastResult:
    """One attack on one contrast, every metric following from its advantage."""
    d = 2 * norm.ppf((min(advantage, 0.999) + 1) / 2)
    auc = float(norm.cdf(d / np.sqrt(2)))
    fpr = np.concatenate([[0.0], np.geomspace(1e-3, 1, 60)])
    tpr = np.where(fpr > 0, norm.cdf(norm.ppf(np.maximum(fpr, 1e-9)) + d), 0.0)
    tpr_at_1 = float(norm.cdf(norm.ppf(1e-2) + d)) if photos >= 1000 else None
    few = "" if photos >= 1000 else f"not measurable: {photos} negatives, 1000 needed"
    less = {"n": people, "unit": "people", "higher_is_better": False}
    return ContrastResult(
        contrast=contrast,
        people=people,
        n_positive=photos,
        n_negative=photos,
        metrics={
            "auc": metric(auc, 0.02, **less),
            "balanced_accuracy": metric((1 + advantage) / 2, 0.02, **less),
            "advantage": metric(advantage, 0.04, **less),
            "tpr@fpr=1e-2": metric(tpr_at_1, 0.03, note=few, **less),
            "tpr@fpr=1e-3": metric(None, 0.0, note=f"not measurable: {photos} negatives, 10000 needed", **less),
            "excess_over_blind": Metric(
                value=auc - BLIND_AUC, low=auc - BLIND_AUC - 0.02, high=auc - BLIND_AUC + 0.02, method="BCa", **less
            ),
        },
        realised_fpr={"tpr@fpr=1e-2": 0.0083} if tpr_at_1 is not None else {},
        roc=tuple((float(x), float(y)) for x, y in zip(fpr, tpr, strict=True)),
        scores_sha256=hashlib.sha256(f"{contrast}{advantage}".encode()).hexdigest(),
    )


def _attacks(leakage: float, photos: int) -> tuple[AttackResult, ...]:
    results = []
    for name, settings, access, sample, identity in ATTACKS:
        shares = {Contrast.SAMPLE: sample, Contrast.IDENTITY: identity, Contrast.PAPER: min(sample + identity, 1.0)}
        results.append(
            AttackResult(
                spec=AttackSpec(name=name, settings=settings),
                access=access,
                knowledge="partial",
                contrasts={c: contrast_result(c, leakage * share, photos=photos) for c, share in shares.items()},
                seconds=1.5,
                peak_memory_mb=300.0,
                queries=1200,
            )
        )
    results.append(
        AttackResult(
            spec=AttackSpec(name="bn_distance", settings={"statistics": "feature_means"}),
            adaptive=True,
            status="not_applicable",
            reason="the model keeps its BatchNorm statistics",
            access="weights",
            knowledge="partial",
        )
    )
    return tuple(results)


def _headline(utility: float, leakage: float, track: str, own: Sequence[Any], n: int) -> Headline:
    shared, alone = np.random.default_rng(_seed(track)), np.random.default_rng(_seed(*own))
    replicates = []
    for value in (utility, leakage):
        noise = 0.02 * shared.standard_normal(n) + 0.005 * alone.standard_normal(n)
        replicates.append(tuple(float(v) for v in np.clip(value + noise, 0, 1)))
    return Headline(
        utility=metric(utility, 0.04, 150, unit="people", higher_is_better=True),
        leakage=metric(leakage, 0.04, 200, unit="people", higher_is_better=False),
        leakage_contrast=Contrast.SAMPLE,
        leakage_attack=AttackSpec(name=ATTACKS[0][0], settings=ATTACKS[0][1]).label,
        utility_replicates=replicates[0],
        leakage_replicates=replicates[1],
    )


def _card(name: str, team: str, track: str, defense: str, settings: Mapping[str, Any], seed: int, fields: Mapping) -> Card:
    values: dict[str, Any] = {
        "name": name,
        "team": team,
        "track": track,
        "seed": seed,
        "defenses": (DefenseSpec(name=defense, settings=settings),),
        "backbone": BackboneSpec(name="mobilefacenet", kwargs={"width": 0.5}),
        "norm": "group" if defense == "dp_sgd" else "batch",
        "embedding_size": 128,
        "input": InputSpec(size=(48, 48)),
        "licence": "CC-BY-4.0",
    }
    return Card(**{**values, **fields})


def _utility(utility: float) -> dict[str, Metric]:
    up = {"n": 150, "unit": "people", "higher_is_better": True}
    return {
        "tar@far=1e-3": metric(utility, 0.04, **up),
        "accuracy": metric(min(0.75 + utility / 4, 1.0), 0.01, **up),
        "eer": metric((1 - utility) / 4, 0.01, n=150, unit="people", higher_is_better=False),
        "rank1": metric(min(utility + 0.1, 1.0), 0.03, **up),
        "d_prime": Metric(value=1 + 3 * utility, low=0.9 + 3 * utility, high=1.1 + 3 * utility, **up),
    }


def _gate(valid: bool) -> Gate:
    auc = BLIND_AUC if valid else 0.61
    contrasts = (Contrast.SAMPLE, Contrast.IDENTITY)
    probes = [
        GateProbe(classifier=name, contrast=c, auc=metric(auc, 0.03, 200, unit="people"), invalid=not valid)
        for name in ("pixels", "untrained backbone")
        for c in contrasts
    ]
    return Gate(valid=valid, probes=tuple(probes))


def _plugins(defense: str) -> dict[str, dict[str, PluginInfo]]:
    attacks = {
        name: PluginInfo(
            name=name,
            summary=f"Tells members by {name.replace('_', ' ')}.",
            reference="A paper (Venue 2024, arXiv 2401.13719)",
            access=access,
            contrasts=(Contrast.SAMPLE, Contrast.IDENTITY),
        )
        for name, _, access, _, _ in ATTACKS
    }
    summary = f"Defends by {defense.replace('_', ' ')}."
    family = FAMILIES.get(defense, "training")
    return {
        "attacks": attacks,
        "defenses": {defense: PluginInfo(name=defense, summary=summary, reference="A paper (Venue 2023)", family=family)},
    }


def make_record(
    name: str = "undefended",
    defense: str = "undefended",
    settings: Mapping[str, Any] | None = None,
    track: str = "synthetic-quick",
    utility: float = 0.7,
    leakage: float = 0.5,
    seed: int = 0,
    n_replicates: int = 200,
    board: str = "verified",
    unranked: tuple[str, ...] = (),
    flags: tuple[Flag, ...] = (),
    *,
    team: str = "FaceVeil",
    photos: int = 600,
    gate_valid: bool = True,
    complete: bool = True,
    headline: bool = True,
    protocol_version: str = PROTOCOL_VERSION,
    split: str = "split-0",
    created: str = "2026-01-02T03:04:05+00:00",
    card: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Record:
    """A record of three attacks (and one that does not apply) on three contrasts.

    ``card`` overrides fields of the card (such as ``claim``), ``fields`` those of the record.  ``photos`` per class decides
    whether TPR@1 %FPR is measurable (>= 1000).  Records of one ``track`` have paired replicates.
    """
    settings = dict(settings or {})
    identity = (name, team, defense, sorted(settings.items()), track, seed)
    sha = hashlib.sha256(repr(identity).encode()).hexdigest()
    values: dict[str, Any] = {
        "protocol_version": protocol_version,
        "track": track,
        "board": board,
        "card": _card(name, team, track, defense, settings, seed, card or {}),
        "utility": _utility(utility),
        "membership": _attacks(leakage, photos),
        "gate": _gate(gate_valid),
        "headline": _headline(utility, leakage, track, identity, n_replicates) if headline else None,
        "complete": complete,
        "unranked": unranked,
        "flags": flags,
        **_plugins(defense),
        "provenance": Provenance(
            track_digest=content_hash(track, protocol_version),
            weights_sha256=sha,
            submission_id=hashlib.sha256(sha.encode()).hexdigest(),
            data_digest=content_hash("data", track),
            split_digest=content_hash(track, split),
            seed=seed,
            versions={"faceveil": "0.1.0", "torch": "2.9.0"},
            device="cpu",
            created=created,
            seconds=61.5,
            peak_memory_mb=900.0,
        ),
    }
    return Record(**{**values, **fields})
