"""Record: one evaluation, every number with its interval, n, direction and provenance.

A record is self-contained JSON: leaderboards read records and nothing else, so it also carries what each attack and
defence is.  Scores stand beside it in ``.npz`` files, named here by sha256.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from benchmark.interfaces import Access, Contrast, PluginInfo, Result, content_hash
from benchmark.records.results import AttackResult, Attribution, CanaryAudit, Gate, Headline, InversionRecord, Metric, text_of
from benchmark.submissions.card import Card
from benchmark.submissions.report import Flag

SCHEMA_VERSION: Final = 1


class Provenance(Result):
    """Where the numbers come from."""

    track_digest: str
    weights_sha256: str
    submission_id: str
    data_digest: str
    split_digest: str
    seed: int
    versions: dict[str, str]
    device: str
    created: str  # ISO 8601, UTC
    seconds: float
    peak_memory_mb: float


class Record(Result):
    """One submission under one track's standard evaluation."""

    schema_version: Literal[1] = SCHEMA_VERSION
    protocol_version: str
    track: str
    board: Literal["verified", "weights"] = "weights"
    card: Card
    utility: dict[str, Metric]
    membership: tuple[AttackResult, ...]
    gate: Gate
    headline: Headline | None
    complete: bool  # every attack of the track and of the defence was run
    unranked: tuple[str, ...] = ()  # reasons; empty: ranked
    flags: tuple[Flag, ...] = ()
    attacks: dict[str, PluginInfo] = Field(default_factory=dict)
    defenses: dict[str, PluginInfo] = Field(default_factory=dict)
    inversion: InversionRecord | None = None  # None: not run
    provenance: Provenance
    audit: CanaryAudit | None = None  # of entries that were trained with canaries
    attribution: Attribution | None = None
    extra: Mapping[str, Any] = Field(default_factory=dict)
    population: tuple[str, ...] = ()  # submission ids by number: the targets, and each other's shadows
    shadows: Literal["", "same_defense", "undefended"] = ""  # what the query pool was trained under; empty: there is none

    def __str__(self) -> str:
        """What it says, in about ten lines; everything is in ``model_dump()``."""
        head = self.headline
        who = f"{self.card.name} by {self.card.team}, seed {self.card.seed}"
        lines = [f"{who}: {self.track}, protocol {self.protocol_version}, {self.board}"]
        lines += [f"  {name:<14} {text_of(metric)}" for name, metric in list(self.utility.items())[:4]]
        if head is not None:
            found = "; nothing found" if head.nothing_found else ""
            lines.append(f"  leakage        {text_of(head.leakage)}{found}")
            over = f"over {head.targets} backbone{'s' if head.targets != 1 else ''}"
            lines.append(f"  by             {head.leakage_attack}, {head.leakage_contrast}, {over}")
            lines.append(f"  TPR@0.1 %FPR   {text_of(head.low_fpr)}; the most exposed 1 %: {text_of(head.exposed)}")
        done = sum(attack.status == "ok" for attack in self.membership)
        told = [str(c) for c in (Contrast.SAMPLE, Contrast.IDENTITY) if not self.gate.passes(c)]
        gate = f"blind gate failed on {' and '.join(told)}" if told else "blind gate passed"
        lines.append(f"  {done} of {len(self.membership)} attacks measured; {gate}")
        lines += [f"  not ranked: {reason}" for reason in self.unranked]
        return "\n".join([*lines, *(f"  {flag.severity}: {flag.reason}" for flag in self.flags)])

    @property
    def configuration(self) -> str:
        """Hash of what was trained, without its seed: records that share it are one entry with its spread."""
        card = self.card
        inference = dict(card.inference) if card.inference else None
        canaries = [card.canaries.model_dump(mode="json")] if card.canaries else []
        return content_hash(
            self.track,
            self.protocol_version,
            self.provenance.data_digest,
            self.board,
            card.team,
            [d.model_dump(mode="json") for d in card.defenses],
            card.backbone.model_dump(mode="json"),
            inference,
            card.initialised_from,
            *canaries,
        )

    def strongest(self, contrast: Contrast) -> AttackResult | None:
        """The headless attack of the largest AUC on a contrast: a maximum, so its interval is not that of a fair test."""

        def auc(attack: AttackResult) -> float:
            metric = attack.contrasts[contrast].metrics.get("auc")
            return metric.value if metric and metric.value is not None else -1.0

        found = [a for a in self.membership if contrast in a.contrasts and a.access != Access.HEAD]
        return max(found, key=auc, default=None)

    @property
    def fingerprint(self) -> str:
        """Hash of everything but costs and dates: two runs of one evaluation agree on it.

        Curves do not count: they are drawings of scores, which stand in it by their hash.
        """
        data = self.model_dump(mode="json")
        for key in ("created", "seconds", "peak_memory_mb"):
            data["provenance"].pop(key)
        for attack in (*data["membership"], *(data["inversion"] or {}).get("results", ())):
            for key in ("seconds", "peak_memory_mb", "memory_measure"):
                attack.pop(key)
        for attack in data["membership"]:
            for contrast in attack["contrasts"].values():
                contrast.pop("roc")
        return content_hash(data)
