"""What is inside one entry, as tables: attacks, ROC points, utility, provenance, and how to reproduce it."""

from __future__ import annotations

import json
import shlex
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from benchmark.interfaces import Contrast
from benchmark.records.ranking import RankedEntry
from benchmark.records.record import Record
from benchmark.records.results import AttackResult, ContrastResult, interval_text
from leaderboard.charts.palette import BLUE, VERMILION

CONTRASTS = {
    Contrast.SAMPLE: "sample: trained photos / other photos of the same people",
    Contrast.IDENTITY: "identity: people trained on / people never trained on",
    Contrast.PAPER: "seen_vs_held_out: trained photos / people never trained on",
}

# colour and shape, as of the families
CONTRAST_STYLES = {
    "sample": (BLUE, "square"),
    "identity": (VERMILION, "triangle-up"),
    "seen_vs_held_out": ("#8A8F98", "circle"),
}


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


def attack_dots(frame: pd.DataFrame) -> pd.DataFrame:
    """:func:`attack_frame` as rows of a dot plot: AUC by attack, the strongest first, a dot a contrast."""
    order = frame.groupby("attack")["auc"].max().sort_values(ascending=False, na_position="last").index
    places = {attack: i for i, attack in enumerate(order)}
    data = frame.sort_values("attack", key=lambda column: column.map(places), kind="stable")
    texts = [interval_text(*values) for values in data[["auc", "auc_low", "auc_high"]].to_numpy(float)]
    names = {"attack": "label", "contrast": "group", "auc": "value", "auc_low": "low", "auc_high": "high"}
    return data.rename(columns=names)[list(names.values())].assign(text=texts)


def strongest_labels(record: Record, contrast: Contrast) -> list[str]:
    """The attacks on a contrast by falling AUC."""
    found = {}
    for attack in record.membership:
        metric = attack.contrasts[contrast].metrics.get("auc") if contrast in attack.contrasts else None
        if metric is not None:
            found[attack.label] = metric.value if metric.value is not None else -1.0
    return sorted(found, key=lambda label: -found[label])


def curve_order(record: Record) -> list[str]:
    """Every attack by its best place on any contrast: the order of colours, the same on all charts of an entry."""
    best: dict[str, int] = {}
    for contrast in Contrast:
        for place, label in enumerate(strongest_labels(record, contrast)):
            best[label] = min(place, best.get(label, place))
    return sorted(best, key=lambda label: (best[label], label))


def attack_notes(record: Record) -> pd.DataFrame:
    """One row an attack of the record: what it is, and where it comes from."""
    rows = [(info.name, info.summary, info.access, info.reference) for info in record.attacks.values()]
    return pd.DataFrame(rows, columns=["attack", "what it does", "access", "reference"])


def cost_frame(record: Record) -> pd.DataFrame:
    """What training, evaluation and each attack cost; an attack's memory where it was measured apart from the process's."""
    training, origin = record.card.training, record.provenance
    rows: list[tuple[str, Any, Any, Any]] = []
    if isinstance(training.get("seconds"), int | float):
        rows.append(("training (as the trainer wrote it)", float(training["seconds"]), None, None))
    rows.append(("evaluation", origin.seconds, origin.peak_memory_mb, None))
    for attack in record.membership:
        own = None if attack.memory_measure == "process" else attack.peak_memory_mb
        if attack.status == "ok":
            rows.append((f"attack {attack.label}", attack.seconds, own, attack.queries))
    return pd.DataFrame(rows, columns=["what", "seconds", "peak memory, MB", "queries"]).astype({"queries": "Int64"})


def citation(entry: RankedEntry, record: Record) -> str:
    """BibTeX of an entry: its hash names it for good."""
    scope = entry.scope
    year = record.provenance.created[:4]
    return (
        f"@misc{{faceveil-{entry.key},\n"
        f"  title  = {{{_bibtex(entry.label)} on the FaceVeil leaderboard}},\n"
        f"  author = {{{{{_bibtex(record.card.team)}}}}},\n"
        f"  year   = {{{year}}},\n"
        f"  note   = {{Track {_bibtex(scope.track)}, protocol {_bibtex(scope.protocol_version)}, {scope.board}, "
        f"weights sha256 {record.provenance.weights_sha256[:16]}, entry {entry.key}}}\n"
        "}"
    )


def _bibtex(text: str) -> str:
    """Text in which nothing is a command."""
    return "".join(f"\\{c}" if c in "&%$#_" else c for c in text if c not in "{}\\~^")


def attack_table(record: Record) -> pd.DataFrame:
    """:func:`attack_frame` to be read: metrics with their intervals as text, or why there is none."""
    frame = attack_frame(record)
    strongest = frame.groupby("attack")["auc"].max().rank(ascending=False, method="first")
    frame = frame.sort_values("attack", key=lambda column: column.map(strongest), kind="stable").reset_index(drop=True)
    for name, title in _METRICS.items():
        ends = [frame[f"{name}{end}"] for end in ("", "_low", "_high", "_note")]
        frame[title] = [_text(*values) for values in zip(*ends, strict=True)]
    columns = ["attack", "contrast", *_METRICS.values(), "people", "positives", "negatives", "access", "knowledge", "adaptive"]
    return frame[[*columns, "queries", "seconds"]].assign(adaptive=frame["adaptive"].map({True: "yes", False: ""}))


def not_run(record: Record) -> list[str]:
    """Attacks without a result, each with the reason."""
    absent = [a for a in record.membership if a.status != "ok"]
    return [f"{a.label}: {a.status.replace('_', ' ')}: {a.reason}" for a in absent]


def _text(value: float | None, low: float | None, high: float | None, note: Any) -> str:
    return note if isinstance(note, str) and note and pd.isna(value) else interval_text(value, low, high)


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
    """ROC points of every attack on a contrast, with the columns of :data:`CURVE` and the attack's label."""
    rows = [
        row
        for attack in record.membership
        if contrast in attack.contrasts
        for row in curve(attack.contrasts[contrast], attack=attack.label)
    ]
    return pd.DataFrame(rows, columns=["attack", *CURVE])


CURVE = ("fpr", "tpr", "tpr_low", "tpr_high", "negatives", "positives")


def curve(result: ContrastResult, **names: str) -> list[dict[str, Any]]:
    """A curve's points with a 95 % band of the TPR (Clopper and Pearson, 1934) that takes each person for one photo.

    A record keeps the curve, not its replicates.  However alike the photos of one person score, the share of them that is
    found varies no more than a share of so many people does, so that the band is on the safe side.
    """
    people = result.people if result.contrast == Contrast.SAMPLE else result.people // 2  # those of the positives
    points = np.array(result.roc, dtype=float).reshape(-1, 2)
    found = points[:, 1] * people
    ends = [betaincinv(found, people - found + 1, 0.025), betaincinv(found + 1, people - found, 0.975)]
    low, high = np.nan_to_num(ends[0], nan=0.0), np.nan_to_num(ends[1], nan=1.0)
    counts = {"negatives": result.n_negative, "positives": result.n_positive}
    return [
        {**names, "fpr": x, "tpr": y, "tpr_low": float(lo), "tpr_high": float(hi), **counts}
        for (x, y), lo, hi in zip(result.roc, low, high, strict=True)
    ]


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
