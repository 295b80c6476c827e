"""Record: one evaluation, every number with its interval, n, direction and provenance.

A record is self-contained JSON: leaderboards read records and nothing else, so it also carries what each attack and
defence is.  Scores stand beside it in ``.npz`` files, named here by sha256.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from benchmark.interfaces import PluginInfo, Result, content_hash
from benchmark.records.results import AttackResult, Attribution, CanaryAudit, Gate, Headline, InversionRecord, Metric
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
