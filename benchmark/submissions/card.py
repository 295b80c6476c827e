"""The card of a submission: what a model says of itself.  Plain data, hostile until checked."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt

from benchmark.interfaces import DefenseSpec
from benchmark.protocol.track import PROTOCOL_VERSION, BackboneSpec, InputSpec

CARD_VERSION = 1


def _clean(text: str) -> str:
    """NFC text without control, format or private characters (they hide or reorder what a reader sees)."""
    text = unicodedata.normalize("NFC", text)
    bad = sorted({f"U+{ord(c):04X}" for c in text if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Cn")})
    if bad:
        raise ValueError(f"contains invisible or control characters ({', '.join(bad[:5])}): remove them")
    return text.strip()


Line = Annotated[str, AfterValidator(_clean), Field(max_length=200)]
Name = Annotated[str, AfterValidator(_clean), Field(min_length=1, max_length=80)]


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _web(link: str) -> str:
    if not link.startswith(("https://", "http://")):
        raise ValueError("a link must start with https:// or http://")
    return link


Link = Annotated[Line, AfterValidator(_web)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Claim(_Model):
    """A differential-privacy guarantee.

    ``covers`` says of what: of the whole model, or of its BN statistics alone.  ``tuning_runs`` says of how many trainings on
    the private photos: settings chosen by their results leak through the choice, and an epsilon of one training alone
    covers no other.
    """

    epsilon: float = Field(gt=0)
    delta: float = Field(ge=0, lt=1)
    unit: Literal["photo", "person"]
    covers: Literal["model", "bn_statistics"] = "model"
    accountant: Line = ""
    tuning_runs: PositiveInt = Field(1, description="trainings on the private photos, this one among them, that epsilon covers")

    @property
    def scope(self) -> str:
        """What it is about, beside epsilon and delta, for tables."""
        runs = f", {self.tuning_runs} trainings" if self.tuning_runs > 1 else ", tuning not covered"
        return f"per {self.unit}, {self.covers.replace('_', ' ')}{runs}"


class CanaryNote(_Model):
    """That the training set held canaries: how many were drawn and of which kind, never which of them were trained on."""

    unit: Literal["photo", "person"]
    kind: Name
    count: PositiveInt


class AdditionalData(_Model):
    """Data beyond the track's member photos that the training used."""

    name: Name
    use: Line


class Card(_Model):
    """``card.json``.  ``defenses`` in the order in which they were composed."""

    card_version: Literal[1] = CARD_VERSION
    name: Name
    team: Name = "anonymous"
    track: Name
    protocol_version: Name = PROTOCOL_VERSION
    seed: int = 0
    defenses: Annotated[tuple[DefenseSpec, ...], Field(min_length=1, max_length=8)]
    backbone: BackboneSpec
    norm: Literal["batch", "group", "layer", "none"]
    embedding_size: PositiveInt
    input: InputSpec
    inference: Mapping[str, Any] | None = None
    initialised_from: Line = ""  # "" = from scratch
    additional_data: Annotated[tuple[AdditionalData, ...], Field(max_length=16)] = ()
    claim: Claim | None = None
    plugin_files: Annotated[Mapping[Name, Sha256], Field(max_length=8)] = {}  # of defences from outside the project
    canaries: CanaryNote | None = None  # trained on a track's variant with canaries
    licence: Line = "unstated"
    links: Annotated[tuple[Link, ...], Field(max_length=8)] = ()
    notes: Annotated[str, Field(max_length=2000)] = ""
    training: Mapping[str, Any] = Field(default_factory=dict)  # provenance that the trainer wrote

    @property
    def defense_label(self) -> str:
        """The defences with their settings, for tables."""
        return " + ".join(d.label for d in self.defenses)
