"""The card of a submission: what a model says of itself.  Plain data, hostile until checked."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from benchmark.interfaces import BackboneSpec, DefenseSpec
from benchmark.protocol.track import PROTOCOL_VERSION, InputSpec
from benchmark.submissions.bounds import MAX_INTEGER, MAX_TEXT, check_bounds

CARD_VERSION = 1


_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters and symbols without a shape


def _clean(text: str) -> str:
    """NFC text without control, format, private or blank characters (they hide or reorder what a reader sees)."""
    text = unicodedata.normalize("NFC", text)
    hidden = {c for c in text if c in _BLANK or unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Cn")}
    bad = sorted(f"U+{ord(c):04X}" for c in hidden)
    if bad:
        raise ValueError(f"contains invisible or control characters ({', '.join(bad[:5])}): remove them")
    return text.strip()


def _visible(text: str) -> str:
    """A clean name that a reader can see and tell apart: some letter or digit, no run of combining marks."""
    text = _clean(text)
    if not any(unicodedata.category(c)[0] in "LN" for c in text):
        raise ValueError("holds no letter and no digit: give it a name that readers can see")
    marks = [unicodedata.category(c) == "Mn" for c in unicodedata.normalize("NFD", text)]
    if any(all(marks[i : i + 4]) for i in range(len(marks) - 3)):
        raise ValueError("stacks more than three marks on one letter")
    return text


# One validator each: of several, pydantic before 2.12 drops all but the last where a field is given a default or description.
Line = Annotated[str, AfterValidator(_clean), Field(max_length=200)]
Name = Annotated[str, AfterValidator(_visible), Field(min_length=1, max_length=80)]
Seed = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Count = Annotated[int, Field(gt=0, le=2**31)]


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _web(link: str) -> str:
    link = _clean(link)
    if not link.startswith(("https://", "http://")):
        raise ValueError("a link must start with https:// or http://")
    return link


Link = Annotated[str, AfterValidator(_web), Field(max_length=200)]


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
    tuning_runs: Count = Field(1, description="trainings on the private photos, this one among them, that epsilon covers")

    @property
    def scope(self) -> str:
        """What it is about, beside epsilon and delta, for tables."""
        runs = f", {self.tuning_runs} trainings" if self.tuning_runs > 1 else ", tuning not covered"
        return f"per {self.unit}, {self.covers.replace('_', ' ')}{runs}"


class CanaryNote(_Model):
    """That the training set held canaries: how many were drawn and of which kind, never which of them were trained on."""

    unit: Literal["photo", "person"]
    kind: Name
    count: Count


class AdditionalData(_Model):
    """Data beyond the track's member photos that the training used."""

    name: Name
    use: Line


def _field(default: Any, description: str, example: Any = None, **limits: Any) -> Any:
    """A field with what `faceveil card` and the documentation say of it."""
    return Field(default, description=description, examples=None if example is None else [example], **limits)


_SHORT = 200  # characters of a text that tables show


def _check(part: str, data: Any, text: int = MAX_TEXT) -> None:
    try:
        check_bounds(data, text=text)
        _clean(json.dumps(data, ensure_ascii=False))
    except ValueError as error:
        raise ValueError(f"{part}: {error}") from None


class Card(_Model):
    """``card.json``.  ``defenses`` in the order in which they were composed."""

    card_version: Literal[1] = _field(CARD_VERSION, "Version of this form.")
    name: Name = _field(..., "What the entry is called on the board.", "BN noise 0.5")
    team: Name = _field(
        "anonymous", "Who hands it in; on a board with tokens, the team that the token belongs to.", "Example Lab"
    )
    track: Name = _field(..., "The track that the photos came from; see `faceveil list tracks`.", "synthetic-quick")
    protocol_version: Name = _field(PROTOCOL_VERSION, "Protocol of that track; another one than the evaluator's is refused.")
    seed: Seed = _field(0, "Seed of the training.", 0)
    number: int = _field(
        0, "Which half of the pool it was trained on; 0 is what `faceveil data export` gives.", 0, ge=0, le=9999
    )
    defenses: tuple[DefenseSpec, ...] = _field(
        ...,
        "The defences, in the order in which they were applied; `undefended` where there was none.",
        [{"name": "early_stopping", "settings": {"share": 0.5}}],
        min_length=1,
        max_length=8,
    )
    backbone: BackboneSpec = _field(
        ...,
        "The architecture: a name of `faceveil list backbones` or of timm, and its arguments.",
        {"name": "iresnet_slim", "kwargs": {"input_size": [48, 48]}},
    )
    norm: Literal["batch", "group", "layer", "none"] = _field(
        ..., "The kind of normalisation layers that the backbone has; checked against the weights.", "batch"
    )
    embedding_size: int = _field(..., "Dimensions of an embedding; checked by running the backbone.", 128, gt=0, le=65536)
    input: InputSpec = _field(
        ...,
        "What the backbone takes: height and width in pixels, and the mean and deviation that are taken off images in [0, 1].",
        {"size": [48, 48], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    )
    inference: Mapping[str, Any] | None = _field(
        None,
        "A transform of the embedding that belongs to the deployed model, such as noise or quantisation; null for none.",
        {"kind": "noise", "sigma": 0.1},
    )
    initialised_from: Line = _field("", "Name of the weights that training started from; empty for training from scratch.", "")
    additional_data: tuple[AdditionalData, ...] = _field(
        (),
        "Every other data set that the training used, with a sentence on its use.",
        [{"name": "CelebA", "use": "pre-training"}],
        max_length=16,
    )
    claim: Claim | None = _field(
        None,
        "A differential-privacy guarantee, if there is one; what it covers, and whether it protects a photo or a person.",
        {"epsilon": 8.0, "delta": 1e-05, "unit": "photo", "covers": "model", "accountant": "PRV"},
    )
    plugin_files: Mapping[Name, Sha256] = _field(
        {}, "Written by the trainer: sha256 of plug-in files from outside the project.", {}, max_length=8
    )
    canaries: CanaryNote | None = _field(None, "Written by the trainer where canaries were mixed in for an audit.")
    licence: Line = _field("unstated", "Licence of the weights and of the results, shown with the entry.", "CC-BY-4.0")
    links: tuple[Link, ...] = _field(
        (), "Paper, code, home page: at most 8 addresses.", ["https://example.org/paper"], max_length=8
    )
    notes: str = _field("", "Anything a reader should know, as plain text of at most 2,000 characters.", "", max_length=2000)
    training: Mapping[str, Any] = _field({}, "Written by the trainer: epochs, seconds, software.", {})

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        """Every free-form part is small enough to be kept, read again and shown."""
        for number, defense in enumerate(self.defenses):
            _check(f"defenses.{number}", defense.model_dump(), _SHORT)
        _check("backbone", self.backbone.model_dump(), _SHORT)
        _check("input", self.input.model_dump(), _SHORT)
        _check("inference", self.inference, _SHORT)
        _check("training", self.training)
        _check("claim", self.claim.model_dump() if self.claim else None)
        return self

    @property
    def defense_label(self) -> str:
        """The defences with their settings, for tables."""
        return " + ".join(d.label for d in self.defenses)


def fields() -> list[dict[str, Any]]:
    """Every field of a card: name, type, whether it is required, meaning, and an example (None where there is none)."""
    return [
        {
            "field": name,
            "type": str(field.annotation).replace("typing.", "").replace("benchmark.submissions.card.", ""),
            "required": field.is_required(),
            "meaning": field.description,
            "example": field.examples[0] if field.examples else None,
        }
        for name, field in Card.model_fields.items()
    ]
