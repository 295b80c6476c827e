"""What is inside one entry, as tables: attacks, ROC points, utility, provenance, and how to reproduce it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.interfaces import Access, Contrast
from benchmark.record import AttackResult, Metric, Record
from leaderboard.ranking import envelope

CONTRASTS = {
    Contrast.SAMPLE: "sample: trained photos / other photos of the same people",
    Contrast.IDENTITY: "identity: people trained on / people never trained on",
    Contrast.PAPER: "trained photos / people never trained on (mixes both)",
}


@dataclass(frozen=True)
class Strongest:
    """The strongest attack on a contrast: its label, AUC (mean over seeds) and the envelope of the seeds' intervals."""

    attack: str = ""
    auc: float | None = None
    low: float | None = None
    high: float | None = None


def strongest(records: Sequence[Record], contrast: Contrast) -> Strongest:
    """The headless attack of the largest AUC on a contrast.

    Attacks that need the head are references and do not count; nor do attacks that not every seed was put to.
    """
    best = Strongest()
    for label in dict.fromkeys(a.label for r in records for a in r.membership if a.access != Access.HEAD):
        metrics = [m for m in (attack_metric(r, label, contrast, "auc") for r in records) if m and m.value is not None]
        if len(metrics) < len(records):
            continue
        auc = sum(m.value for m in metrics) / len(metrics)
        if best.auc is None or auc > best.auc:
            best = Strongest(label, auc, *envelope(metrics))
    return best


def attack_metric(record: Record, label: str, contrast: Contrast, name: str) -> Metric | None:
    """A metric of the attack of that label, or None where it was not run or has no such metric."""
    for attack in record.membership:
        if attack.label == label and attack.status == "ok" and contrast in attack.contrasts:
            return attack.contrasts[contrast].metrics.get(name)
    return None


def attack_frame(record: Record) -> pd.DataFrame:
    """One row an attack and contrast, metrics as numbers."""
    rows = []
    for attack in record.membership:
        for contrast, result in attack.contrasts.items():
            row = {**_attack(attack), "contrast": str(contrast), "people": result.people}
            row |= {"positives": result.n_positive, "negatives": result.n_negative}
            for name, metric in result.metrics.items():
                row |= {name: metric.value, f"{name}_low": metric.low, f"{name}_high": metric.high, f"{name}_note": metric.note}
            rows.append(row)
    ends = [f"{name}{end}" for name in _METRICS for end in ("", "_low", "_high", "_note")]
    names = ["attack", "contrast", *ends, "people", "positives", "negatives", "access", "knowledge", "adaptive"]
    return pd.DataFrame(rows, columns=[*names, "queries", "seconds"])


def attack_table(record: Record) -> pd.DataFrame:
    """:func:`attack_frame` to be read: metrics with their intervals as text, or why there is none."""
    frame = attack_frame(record)
    for name, title in _METRICS.items():
        ends = [frame[f"{name}{end}"] for end in ("", "_low", "_high", "_note")]
        frame[title] = [_text(*values) for values in zip(*ends, strict=True)]
    columns = ["attack", "contrast", *_METRICS.values(), "people", "positives", "negatives", "access", "knowledge", "adaptive"]
    return frame[[*columns, "queries", "seconds"]]


def not_run(record: Record) -> list[str]:
    """Attacks without a result, each with the reason."""
    absent = [a for a in record.membership if a.status != "ok"]
    return [f"{a.label}: {a.status.replace('_', ' ')}: {a.reason}" for a in absent]


def _text(value: float | None, low: float | None, high: float | None, note: Any) -> str:
    return note if isinstance(note, str) and note and pd.isna(value) else interval(value, low, high)


def interval(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """``0.812 [0.790, 0.834]``; a dash where there is no value."""
    if pd.isna(value):
        return "–"
    return f"{value:.3f}" if pd.isna(low) or pd.isna(high) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


_METRICS = {
    "auc": "AUC",
    "advantage": "advantage",
    "tpr@fpr=1e-2": "TPR@1 %",
    "tpr@fpr=1e-3": "TPR@0.1 %",
    "balanced_accuracy": "balanced accuracy",
    "excess_over_blind": "AUC over blind",
}


def _attack(attack: AttackResult) -> dict[str, Any]:
    return {
        "attack": attack.label,
        "access": attack.access,
        "knowledge": attack.knowledge,
        "adaptive": attack.adaptive,
        "queries": attack.queries,
        "seconds": attack.seconds,
    }


def roc_frame(record: Record, contrast: Contrast) -> pd.DataFrame:
    """ROC points (attack, fpr, tpr) of every attack on a contrast."""
    rows = []
    for attack in record.membership:
        if contrast in attack.contrasts:
            rows += [{"attack": attack.label, "fpr": x, "tpr": y} for x, y in attack.contrasts[contrast].roc]
    return pd.DataFrame(rows, columns=["attack", "fpr", "tpr"])


def utility_frame(record: Record) -> pd.DataFrame:
    """One row a utility metric."""
    return pd.DataFrame(
        [
            {"metric": k, "value": m.value, "low": m.low, "high": m.high, "n": f"{m.n} {m.unit}", "note": m.note}
            for k, m in record.utility.items()
        ]
    )


def gate_frame(record: Record) -> pd.DataFrame:
    """One row a probe of the blind gate: what can be told without any target."""
    return pd.DataFrame(
        [
            {
                "classifier": p.classifier,
                "contrast": str(p.contrast),
                "AUC": p.auc.value,
                "low": p.auc.low,
                "high": p.auc.high,
                "verdict": "invalid" if p.invalid else "passed",
            }
            for p in record.gate.probes
        ]
    )


def card_text(record: Record) -> str:
    """The card as indented JSON."""
    return json.dumps(record.card.model_dump(mode="json"), indent=2, ensure_ascii=False)


def provenance_text(record: Record) -> str:
    """Hashes, versions, device and costs as indented JSON."""
    return json.dumps(record.provenance.model_dump(mode="json"), indent=2, ensure_ascii=False)


def reproduce(record: Record) -> str:
    """Shell commands that train (where the defence's plug-in and settings are all it takes) and evaluate the entry."""
    card = record.card
    track, out = shlex.quote(record.track), f"runs/entry-seed{card.seed}"
    lines = []
    if len(card.defenses) == 1 and not card.initialised_from:
        defense = card.defenses[0]
        settings = [f"--set {shlex.quote(f'{k}={_value(v)}')}" for k, v in sorted(defense.settings.items())]
        train = ["faceveil train", f"--track {track}", f"--defense {shlex.quote(defense.name)}", *settings]
        lines.append(" ".join([*train, f"--seed {card.seed}", f"--out {out}"]))
    else:
        lines.append(f"# unpack the submission {record.provenance.submission_id[:16]} to {out}, then:")
    lines.append(f"faceveil evaluate {out} --track {track} --out record.json")
    return "\n".join(lines)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
