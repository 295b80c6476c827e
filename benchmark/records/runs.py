"""What the pages keep in memory of a record: some kilobytes of it, without curves and cards.

A board of ten thousand records fits in a small machine that way; the record itself is read again when somebody opens it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
from pydantic import AfterValidator, ConfigDict, PlainSerializer, PlainValidator

from benchmark.interfaces import Access, Contrast
from benchmark.records.record import Record
from benchmark.records.results import AttackResult, Headline, Metric
from benchmark.submissions.card import Claim
from benchmark.submissions.report import Flag

CONTRASTS = tuple(Contrast)
BOARDS = ("verified", "weights", "local")  # the last: what quickstart ran on this machine, beside what was published
QUICKSTART = "quickstart"  # the team of its entries
VALUE, LOW, HIGH = range(3)


def _packed(array: np.ndarray) -> str:
    """An array as text, bit by bit: its shape, and its numbers as little-endian doubles in base64."""
    return f"{','.join(map(str, array.shape))}:{b64encode(array.astype('<f8').tobytes()).decode()}"


def _unpacked(value: object) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    shape, _, content = str(value).partition(":")
    return np.frombuffer(b64decode(content), "<f8").reshape([int(side) for side in shape.split(",")])


Array = Annotated[np.ndarray, PlainValidator(_unpacked), PlainSerializer(_packed)]


@dataclass(frozen=True, slots=True)
class Scope:
    """What entries must have in common to be ranked against each other."""

    track: str
    protocol_version: str
    board: str
    data_digest: str
    split_digest: str

    @staticmethod
    def of(record: Record) -> Scope:
        """The scope of a record."""
        origin = record.provenance
        return Scope(record.track, record.protocol_version, record.board, origin.data_digest, origin.split_digest)


@dataclass(frozen=True, slots=True)
class AttackRun:
    """How one attack was run; shared between the records that it was run on."""

    label: str
    name: str
    access: str
    knowledge: str
    adaptive: bool
    status: str

    @property
    def headless(self) -> bool:
        """It attacks what is shipped, not a head that is not."""
        return self.access != Access.HEAD


@dataclass(frozen=True, slots=True)
class RecordSource:
    """Where the whole record is: in the store by its permanent name, or in a file at a position of its list."""

    name: str = ""
    path: str = ""
    position: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One record in brief.

    ``auc`` (attacks, contrasts, 3): value, low and high of each attack on each of :data:`CONTRASTS`, NaN where there is none.
    ``utility_replicates``, ``leakage_replicates`` and ``inversion_replicates`` (B,).
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_inf_nan="constants")

    source: RecordSource
    scope: Annotated[Scope, AfterValidator(lambda scope: _scope(scope))]
    configuration: str
    submission_id: str
    name: str
    team: str
    seed: int
    defense: str  # the defences with their settings
    defense_names: tuple[str, ...]
    title: str  # the defences by the names that people use
    family: str
    backbone: str
    claim: Claim | None
    flags: tuple[Flag, ...]
    unranked: tuple[str, ...]
    complete: bool
    smoke: bool
    created: str
    training_seconds: float | None
    evaluation_seconds: float
    headline: Headline | None  # without replicates
    tpr_at_1: tuple[float, float, float] | None  # TPR@FPR=1 % of the headline's attack, with its interval
    inversion: Metric | None  # training identities recovered, over held-out people; None: not measured
    inversion_unranked: tuple[str, ...]  # why it is shown and not ranked
    inversion_attack: str
    attacks: tuple[Annotated[AttackRun, AfterValidator(lambda attack: _shared(attack))], ...]
    utility_replicates: Array = field(compare=False, repr=False)
    leakage_replicates: Array = field(compare=False, repr=False)
    inversion_replicates: Array = field(compare=False, repr=False)
    auc: Array = field(compare=False, repr=False)

    @staticmethod
    def of(record: Record) -> Run:
        """The record in brief, its source empty."""
        card, headline = record.card, record.headline
        seconds = card.training.get("seconds")
        inversion = record.inversion
        return Run(
            source=RecordSource(),
            scope=_scope(Scope.of(record)),
            configuration=record.configuration,
            submission_id=record.provenance.submission_id,
            name=card.name,
            team=card.team,
            seed=card.seed,
            defense=card.defense_label,
            defense_names=tuple(d.name for d in card.defenses),
            title=_title(record),
            family=family(record),
            backbone=card.backbone.name,
            claim=card.claim,
            flags=record.flags,
            unranked=record.unranked,
            complete=record.complete,
            smoke=bool(record.extra.get("smoke")),
            created=record.provenance.created,
            training_seconds=float(seconds) if isinstance(seconds, int | float) else None,
            evaluation_seconds=record.provenance.seconds,
            headline=headline.model_copy(update={"utility_replicates": (), "leakage_replicates": ()}) if headline else None,
            tpr_at_1=_tpr(record),
            inversion=inversion.leakage if inversion else None,
            inversion_unranked=inversion.unranked if inversion else (),
            inversion_attack=inversion.leakage_attack if inversion else "",
            inversion_replicates=np.array(inversion.leakage_replicates if inversion else (), dtype=float),
            attacks=tuple(
                _shared(AttackRun(a.label, a.spec.name, a.access, a.knowledge, a.adaptive, a.status)) for a in record.membership
            ),
            utility_replicates=np.array(headline.utility_replicates if headline else (), dtype=float),
            leakage_replicates=np.array(headline.leakage_replicates if headline else (), dtype=float),
            auc=np.array([_auc(a) for a in record.membership], dtype=float).reshape(-1, len(CONTRASTS), 3),
        )

    @property
    def board(self) -> str:
        """One of :data:`BOARDS`."""
        return self.scope.board

    def aucs(self, contrast: Contrast) -> dict[str, tuple[float, float, float]]:
        """AUC with its interval of each attack by label, of those that were run and could be measured."""
        found: dict[str, tuple[float, float, float]] = {}
        for attack, (value, low, high) in zip(self.attacks, self.auc[:, CONTRASTS.index(contrast)].tolist(), strict=True):
            if value == value and attack.label not in found:  # NaN: not measured
                found[attack.label] = (value, low, high)
        return found

    def attack_auc(self, label: str, contrast: Contrast) -> tuple[float, float, float] | None:
        """AUC with its interval of the attack of that label; None where it was not run or could not be measured."""
        return self.aucs(contrast).get(label)


def _title(record: Record) -> str:
    """The defences by the names that people use, with their settings; records of protocol 0.2 have the entry's own name."""
    names = [info.display for d in record.card.defenses if (info := record.defenses.get(d.name)) is not None]
    return " + ".join(names) if len(names) == len(record.card.defenses) and all(names) else record.card.name


@lru_cache(maxsize=4096)
def _scope(scope: Scope) -> Scope:
    return scope


@lru_cache(maxsize=65536)
def _shared(attack: AttackRun) -> AttackRun:
    return attack


def _auc(attack: AttackResult) -> list[list[float]]:
    results = attack.contrasts if attack.status == "ok" else {}
    metrics = [results[c].metrics.get("auc") if c in results else None for c in CONTRASTS]
    return [[np.nan] * 3 if m is None else [_number(m.value), _number(m.low), _number(m.high)] for m in metrics]


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _tpr(record: Record) -> tuple[float, float, float] | None:
    head = record.headline
    metric = attack_metric(record, head.leakage_attack, head.leakage_contrast, "tpr@fpr=1e-2") if head else None
    if metric is None or metric.value is None:
        return None
    return metric.value, _number(metric.low), _number(metric.high)


def attack_metric(record: Record, label: str, contrast: Contrast, name: str) -> Metric | None:
    """A metric of the attack of that label, or None where it was not run or has no such metric."""
    for attack in record.membership:
        if attack.label == label and attack.status == "ok" and contrast in attack.contrasts:
            return attack.contrasts[contrast].metrics.get(name)
    return None


FAMILIES = {
    "none": "No defence",
    "control": "Control",
    "bn_statistics": "BN statistics",
    "dp": "Differential privacy",
    "training": "Training",
    "architecture": "Architecture",
    "input": "Input",
    "unlearning": "Unlearning",
    "embedding": "Embedding",
    "combined": "Combined",
    "other": "Other",
}


def family(record: Record) -> str:
    """The family of its defences, a key of :data:`FAMILIES`; undefended parts of a composition do not count."""
    names = {record.defenses[d.name].family if d.name in record.defenses else "other" for d in record.card.defenses}
    named = (names - {"none"}) or {"none"}
    only = named.pop() if len(named) == 1 else "combined"
    return only if only in FAMILIES else "other"
