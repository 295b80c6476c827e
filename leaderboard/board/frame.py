"""Entries as a table: one row an entry, every column explained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.interfaces import Contrast
from benchmark.records.ranking import RankedEntry, envelope
from benchmark.records.runs import FAMILIES, Run

SMOKE = "smoke run: too small to conclude from"

COLUMNS = {
    "key": "Stable name of the entry, used in links.",
    "rank": "Layer of entries that no other significantly dominates. Entries of one layer are tied.",
    "tied": "True where other entries share the rank.",
    "title": "The defences by the names that people use, with their settings.",
    "entry": "Name that the submitter gave; one row is one configuration.",
    "defense": "Defences with their settings, in the order in which they were composed.",
    "defense_name": "Defences without their settings.",
    "family": "What kind of defence it is.",
    "team": "Who submitted it.",
    "board": "verified: re-trained by the evaluator. weights: trained elsewhere, nobody can prove on what.",
    "utility": "TAR@FAR=1e-3 on verification people, mean over the entry's backbones. Higher is better.",
    "utility_low": "Lower end of the 95 % interval of utility (people and backbones resampled).",
    "utility_high": "Upper end of the 95 % interval of utility.",
    "utility_n": "How many were counted for utility, in the unit of utility_unit.",
    "utility_unit": "Unit of utility_n.",
    "gain": "Utility over that of training on public faces alone (public_only). Not above 0: private photos bought nothing.",
    "gain_low": "Lower end of the 95 % interval of the paired difference.",
    "gain_high": "Upper end of the 95 % interval of the paired difference.",
    "bought_nothing": "True where utility is significantly below that of public_only.",
    "utility_change": "Utility less that of the undefended control, paired.",
    "utility_change_low": "Lower end of its 95 % interval.",
    "utility_change_high": "Upper end of its 95 % interval.",
    "leakage_change": "Leakage less that of the undefended control, paired.",
    "leakage_change_low": "Lower end of its 95 % interval.",
    "leakage_change_high": "Upper end of its 95 % interval.",
    "control": "True for the controls: undefended, and trained on public faces only.",
    "leakage": "Membership advantage (TPR - FPR) of the strongest attack: 0 = nothing leaks, 1 = everything. Lower is better.",
    "leakage_low": "Lower end of the 95 % interval of leakage (people and backbones resampled).",
    "leakage_high": "Upper end of the 95 % interval of leakage.",
    "nothing_found": "True where leakage is not significantly above 0: it counts as 0; leakage_high is not ruled out.",
    "leakage_n": "How many were counted for leakage, in the unit of leakage_unit.",
    "leakage_unit": "Unit of leakage_n.",
    "leakage_attack": "The attack that gave the leakage. Chosen on one half of the people, reported on the other.",
    "leakage_contrast": "What it told apart. sample: trained photos from other photos of the same people. "
    "identity: people trained on from others.",
    "sample_auc": "AUC of the strongest headless attack, trained photos against other photos of the same people. 0.5 = chance.",
    "sample_auc_low": "Lower end of its 95 % interval; with several seeds the lowest of theirs.",
    "sample_auc_high": "Upper end of its 95 % interval; with several seeds the highest of theirs.",
    "sample_attack": "The attack that reached sample_auc.",
    "identity_auc": "AUC of the strongest headless attack, other photos of people trained on against people never trained on.",
    "identity_auc_low": "Lower end of its 95 % interval; with several seeds the lowest of theirs.",
    "identity_auc_high": "Upper end of its 95 % interval; with several seeds the highest of theirs.",
    "identity_attack": "The attack that reached identity_auc.",
    "tpr_at_1": "TPR@FPR=1 % of the attack that gave the leakage. Empty: too few photos to measure it.",
    "tpr_at_1_low": "Lower end of its 95 % interval; with several seeds the lowest of theirs.",
    "tpr_at_1_high": "Upper end of its 95 % interval; with several seeds the highest of theirs.",
    "tpr_at_01": "TPR@FPR=0.1 % of the attack that gave the leakage. Empty: too few photos to measure it.",
    "tpr_at_01_low": "Lower end of its 95 % interval.",
    "tpr_at_01_high": "Upper end of its 95 % interval.",
    "exposed": "The same advantage among the 1 % of photos that the entry's other backbones show to be most exposed.",
    "exposed_low": "Lower end of its 95 % interval.",
    "exposed_high": "Upper end of its 95 % interval.",
    "inversion": "Inversion leakage: share of members whose faces could be rebuilt from the backbone alone, less that of "
    "people never trained on, for the best inversion attack; mean over seeds. 0 = none. Lower is better.",
    "inversion_low": "Lower end of its 95 % interval; with several seeds the lowest of theirs.",
    "inversion_high": "Upper end of its 95 % interval; with several seeds the highest of theirs.",
    "inversion_n": "How many were counted for it.",
    "inversion_attack": "The attack that gave it.",
    "epsilon": "Claimed epsilon of differential privacy, as the submitter states it. Lower is stronger.",
    "epsilon_of": "What the claim covers: delta, protected unit, the model or its BN statistics alone, and whether "
    "the trainings that chose the settings are in it.",
    "flags": "What to know before trusting the entry.",
    "targets": "Backbones of the entry's population, each a target in its turn.",
    "seeds": "Training seeds that the entry is a mean over.",
    "training_seconds": "Seconds of training one backbone, mean over seeds, as the trainer wrote them in the card.",
    "backbone": "Architecture, a timm model name.",
    "complete": "Every attack of the track and of the defence was run.",
    "smoke": "From a smoke run, too small to conclude from.",
    "reasons": "Why the entry is not ranked. Empty: it is.",
    "dominated_by": "Entries that significantly dominate this one, at most twenty, the best first.",
    "dominators": "How many entries significantly dominate this one.",
    "created": "When the newest of its records was made, UTC.",
    "track": "Track: data, split, backbone and budget, frozen.",
    "protocol_version": "Entries of different protocol versions never share a ranking.",
    "data_digest": "Hash of the data.",
    "split_digest": "Hash of who plays which role.",
    "configuration": "Hash of what was trained, without its seed.",
}


def frame_of(entries: Sequence[RankedEntry]) -> pd.DataFrame:
    """The columns of :data:`COLUMNS`, one row an entry, in the order given."""
    frame = pd.DataFrame([_row(entry) for entry in entries], columns=list(COLUMNS))
    frame["rank"] = frame["rank"].astype("Int64")
    return frame


def haystack(frame: pd.DataFrame) -> pd.Series:
    """What the search looks through: the texts of each row in one, in small letters."""
    columns = ["title", "entry", "defense", "defense_name", "family", "team", "leakage_attack", "flags", "backbone"]
    return pd.Series(
        [" ".join(texts).casefold() for texts in frame[columns].astype(str).to_numpy()], index=frame.index, dtype=str
    )


def _row(entry: RankedEntry) -> dict[str, Any]:
    first, scope = entry.runs[0], entry.scope
    headline = next((r.headline for r in entry.runs if r.headline), None)
    claim = first.claim
    row: dict[str, Any] = {
        "key": entry.key,
        "rank": entry.rank,
        "tied": entry.tied,
        "title": first.title,
        "control": entry.control,
        "entry": entry.label,
        "defense": first.defense,
        "defense_name": " + ".join(first.defense_names),
        "family": FAMILIES[first.family],
        "team": first.team,
        "leakage_attack": headline.leakage_attack if headline else "",
        "leakage_contrast": str(headline.leakage_contrast) if headline else "",
        "epsilon": claim.epsilon if claim else None,
        "epsilon_of": f"delta={claim.delta:g}, {claim.scope}" if claim else "",
        "flags": "; ".join(_flags(entry)),
        "seeds": len({r.seed for r in entry.runs}),
        "training_seconds": _mean([r.training_seconds for r in entry.runs]),
        "backbone": first.backbone,
        "complete": all(r.complete for r in entry.runs),
        "smoke": is_smoke(entry),
        "reasons": "; ".join(entry.reasons),
        "dominated_by": ", ".join(entry.dominated_by),
        "dominators": entry.dominators,
        "created": max(r.created for r in entry.runs),
        "configuration": entry.configuration,
        "track": scope.track,
        "board": scope.board,
        "protocol_version": scope.protocol_version,
        "data_digest": scope.data_digest,
        "split_digest": scope.split_digest,
    }
    for name, axis in (("utility", entry.utility), ("leakage", entry.leakage)):
        row |= {name: axis.value, f"{name}_low": axis.low, f"{name}_high": axis.high}
        row |= {f"{name}_n": axis.n, f"{name}_unit": axis.unit}
    row |= {"gain": entry.gain.value, "gain_low": entry.gain.low, "gain_high": entry.gain.high}
    for name, change in (("utility_change", entry.utility_change), ("leakage_change", entry.leakage_change)):
        row |= {name: change.value, f"{name}_low": change.low, f"{name}_high": change.high}
    row |= {"bought_nothing": entry.bought_nothing, "nothing_found": entry.nothing_found}
    row["targets"] = headline.targets if headline else None
    for name, metric in (("tpr_at_01", headline and headline.low_fpr), ("exposed", headline and headline.exposed)):
        row |= {name: metric and metric.value, f"{name}_low": metric and metric.low, f"{name}_high": metric and metric.high}
    tpr = [r.tpr_at_1 for r in entry.runs if r.headline]
    row["tpr_at_1"] = _mean([t and t[0] for t in tpr])
    row["tpr_at_1_low"], row["tpr_at_1_high"] = envelope([t[1:] if t else (None, None) for t in tpr])
    row |= _inversion(entry)
    for contrast in (Contrast.SAMPLE, Contrast.IDENTITY):
        label, auc, low, high = strongest(entry.runs, contrast)
        row |= {f"{contrast}_attack": label, f"{contrast}_auc": auc, f"{contrast}_auc_low": low, f"{contrast}_auc_high": high}
    return row


def _inversion(entry: RankedEntry) -> dict[str, Any]:
    """Nothing unless every seed was put to it."""
    found = [run.inversion for run in entry.runs if run.inversion is not None and run.inversion.value is not None]
    if not found or len(found) < len(entry.runs):
        return {"inversion_attack": ""}
    low, high = envelope([(metric.low, metric.high) for metric in found])
    value = float(np.mean([metric.value for metric in found]))
    attack = entry.runs[0].inversion_attack
    ends = {"inversion": value, "inversion_low": low, "inversion_high": high}
    return {**ends, "inversion_n": min(metric.n for metric in found), "inversion_attack": attack}


def strongest(runs: Sequence[Run], contrast: Contrast) -> tuple[str, float | None, float | None, float | None]:
    """The headless attack of the largest AUC on a contrast: its label, the mean over seeds, the envelope of their intervals.

    Attacks that need the head are references and do not count; nor do attacks that not every seed was put to.
    """
    best: tuple[str, float | None, float | None, float | None] = ("", None, None, None)
    for label in dict.fromkeys(a.label for r in runs for a in r.attacks if a.headless):
        found = [values for r in runs if (values := r.attack_auc(label, contrast)) is not None]
        if len(found) < len(runs):
            continue
        auc = sum(value for value, _, _ in found) / len(found)
        if best[1] is None or auc > best[1]:
            best = (label, auc, *envelope([(low, high) for _, low, high in found]))
    return best


def is_smoke(entry: RankedEntry) -> bool:
    """True where any of its runs was a smoke run."""
    return any(run.smoke for run in entry.runs)


def _flags(entry: RankedEntry) -> list[str]:
    texts = [SMOKE] if is_smoke(entry) else []
    texts += [f"{flag.name} ({flag.severity}): {flag.reason}" for run in entry.runs for flag in run.flags]
    return list(dict.fromkeys([*texts, *entry.left_out]))


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean, or None where one is missing."""
    known = [float(v) for v in values if v is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def rank_text(rank: int | None, tied: bool) -> str:
    """``3``, or ``3 =`` where the rank is shared; a dash where there is none."""
    if rank is None or pd.isna(rank):
        return "–"
    return f"{rank} =" if tied else str(rank)
