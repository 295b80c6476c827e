"""Tracks: everything that a result depends on, frozen and versioned.

A record carries the track's name and ``PROTOCOL_VERSION``; records of different versions never share a ranking.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from benchmark.interfaces import AttackSpec, BackboneSpec, content_hash

PROTOCOL_VERSION = "0.3"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _without(data: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Settings added later are left out at their default, so that they change no digest and no cached name."""
    return {name: value for name, value in data.items() if name not in defaults or value != defaults[name]}


class Roles(_Frozen):
    """People per role, and photos per person.  The five sets of people are disjoint.

    Of the ``pool`` each backbone of a population trains on a random half of the people, and of each of these on a random half
    of the photos (see :mod:`benchmark.data.memberships`).
    """

    pool: int = Field(ge=2)  # people whose membership is asked about
    photos: int = Field(ge=2)  # of a person of the pool; at most as many of a public or auxiliary one
    verification: PositiveInt
    verification_photos: PositiveInt = 4
    public: NonNegativeInt = 0  # what a defender may train on besides members; 0: another file, or the initial weights
    auxiliary: PositiveInt  # the attacker's public faces, of the pool's own distribution
    judges: PositiveInt

    @property
    def members(self) -> int:
        """People of the pool whom one backbone trains on."""
        return self.pool // 2

    @property
    def held_out(self) -> int:
        """People of the pool whom one backbone does not train on."""
        return self.pool - self.members

    @property
    def seen(self) -> int:
        """Photos of a member that are trained on."""
        return self.photos // 2

    @property
    def unseen(self) -> int:
        """Photos of a member that are not, and of a held-out person that are asked about."""
        return self.photos - self.seen


class InputSpec(_Frozen):
    """What a backbone takes: height and width in pixels, mean and standard deviation of R, G, B on images in [0, 1], and the
    order of the channels.
    """

    size: tuple[PositiveInt, PositiveInt]
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.5, 0.5, 0.5)
    order: Literal["RGB", "BGR"] = "RGB"


class Camera(_Frozen):
    """What the photos of a track are seen through (see :mod:`benchmark.data.camera`)."""

    pixels: PositiveInt  # side of the square sensor
    quality: int = Field(90, ge=1, le=95)  # of the JPEG


class HeadSpec(_Frozen):
    """The classification head used in training; never part of what is attacked."""

    name: Literal["softmax", "cosface", "arcface", "adaface"] = "arcface"
    scale: PositiveFloat = 32.0
    margin: float = Field(0.5, ge=0)
    sample: float = Field(1.0, gt=0, le=1)  # share of the classes that a step asks about; below 1 for tens of thousands

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(handler(self), sample=1.0)


class TrainingConfig(_Frozen):
    """One training run.  ``lr`` is the peak after warm-up; it falls to zero by a cosine."""

    epochs: PositiveInt = 30
    batch_size: PositiveInt = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: PositiveFloat = 0.1
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    warmup_epochs: float = Field(1.0, ge=0)
    clip_norm: float = Field(5.0, ge=0)  # 0: off
    flip: bool = False
    autocast: bool = False  # bf16; where it pays


class ShadowBudget(_Frozen):
    """How many shadow backbones an attacker trains: ``auxiliary`` ones, on auxiliary people, under the target's defence.

    Those of the query pool are the other backbones of the entry's population.
    """

    auxiliary: NonNegativeInt = 0


class Budget(_Frozen):
    """What an entry costs on this track: for planning, shown to users, measured as said in ``note``."""

    cpu_minutes: PositiveFloat  # one backbone, undefended, where two cores train two backbones at once
    gpu_minutes: PositiveFloat | None = None
    note: str = ""


class InversionBudget(_Frozen):
    """How much of inversion an entry is tried with.  Results of other counts are shown, unranked."""

    targets: PositiveInt = 100  # goal A: leaked templates of members, and as many of held-out people
    reconstructions: PositiveInt | None = None  # goal B; None: as many as there are members asked about
    chunk: PositiveInt = 50  # images that are optimised together, and after which an interrupted run resumes


class Track(_Frozen):
    """A frozen evaluation setting."""

    name: str
    summary: str
    source: Literal["synthetic", "folder"]
    image_size: PositiveInt
    data_seed: int = 2401_13719  # of the procedural faces
    split_seed: int = 0
    round: str | None = None  # first digits of the sha256 of a secret that unseen photos and people are drawn from
    roles: Roles
    public_domain: str = "wild"  # how the public people's photos differ from the others'; "wild": not at all
    camera: Camera | None = None  # of a track that reads photos; public people's are left as they are in domain "clean"
    population: int = Field(2, ge=2)  # backbones of an entry: each a target in its turn, and a shadow of the others
    backbone: BackboneSpec
    head: HeadSpec = HeadSpec()
    training: TrainingConfig = TrainingConfig()
    fine_tuning: TrainingConfig | None = None  # the schedule of `--init WEIGHTS`; None: from scratch only
    needs_init: bool = False  # never from scratch: entries start from the public weights of `--init`
    seeds: tuple[int, ...] = (0, 1, 2)
    partial_share: float = Field(0.3, gt=0, lt=1)  # of people whose membership a `partial` attacker knows
    shadows: ShadowBudget = ShadowBudget()
    attacks: tuple[AttackSpec, ...]
    inversion: tuple[AttackSpec, ...] = ()  # run by `faceveil invert`; empty: the standard ones
    inversion_budget: InversionBudget = InversionBudget()
    judges: tuple[BackboneSpec, ...] = (  # the evaluator's panel: two architectures or more
        BackboneSpec(name="iresnet_slim"),
        BackboneSpec(name="mobilefacenet", kwargs={"width": 0.25}),
    )
    judge_training: TrainingConfig | None = None  # None: as entries are trained
    budget: Budget
    conclusive: bool = True  # False: too small to conclude from, and marked so
    shows_faces: bool = False  # whether the data's terms allow reconstructions to be shown
    version: str = PROTOCOL_VERSION

    @property
    def entry_minutes(self) -> float:
        """What the plain training of an entry's population takes on two cores."""
        return round(self.budget.cpu_minutes * self.population, 1)

    @property
    def digest(self) -> str:
        """Content hash of every setting that a result depends on; of a round, the digest of the data tells."""
        besides = {"summary", "budget", "conclusive", "shows_faces", "seeds", "round"}
        return content_hash(self.model_dump(mode="json", exclude=besides))

    def settings(self, *names: str) -> dict[str, Any]:
        """Some of the settings as JSON data, for the names of what depends on those alone."""
        return self.model_dump(mode="json", include=set(names))
