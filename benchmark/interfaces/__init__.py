"""The contracts between the parts of FaceVeil.

This module is a leaf: it imports nothing of FaceVeil, and torch only for type checkers, so that every part (and every
plug-in outside the project) can depend on it cheaply.

Plug-ins are frozen pydantic models: their fields are their settings, so that configuration, validation, representation
and provenance are one object.  What is true of the class and not of one configuration stands in class variables.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import torch
    from torch import nn


class FaceVeilError(Exception):
    """Base of every error that a user can remedy; the command line prints its text and exits with 1."""


class AccessError(FaceVeilError):
    """An attack touched more of the target than its declared access allows."""


class NotApplicableError(FaceVeilError):
    """An attack has no meaning on this target; recorded with its reason, never as 0.5."""


class Access(StrEnum):
    """What the attacker may touch, from least to most."""

    SIMILARITY = "similarity"
    EMBEDDING = "embedding"
    WEIGHTS = "weights"
    HEAD = "head"

    def allows(self, needed: Access) -> bool:
        """True where an attacker with this access may do what needs ``needed``."""
        ladder = list(Access)
        return ladder.index(self) >= ladder.index(needed)


class Knowledge(StrEnum):
    """What the attacker knows about membership beforehand.  The share is the protocol's, never the attack's."""

    NONE = "none"
    PARTIAL = "partial"
    AUXILIARY = "auxiliary"
    QUERY_POOL = "query_pool"


class Contrast(StrEnum):
    """Which two populations a membership attack has to tell apart (positive against negative)."""

    SAMPLE = "sample"  # seen photos of members against unseen photos of the same people
    IDENTITY = "identity"  # unseen photos of members against photos of people never trained on
    PAPER = "seen_vs_held_out"  # seen photos against people never trained on: mixes the two, never the headline


class Reference(BaseModel):
    """Where a method comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    where: str = ""  # venue, year
    arxiv: str = ""
    equation: str = ""


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no blanks.  Hashes of settings are taken over it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def content_hash(*parts: Any, length: int = 16) -> str:
    """A short sha256 over JSON values, for cache keys."""
    return hashlib.sha256(canonical_json(list(parts)).encode()).hexdigest()[:length]


class PluginSpec(BaseModel):
    """A plug-in by name with its settings: plain data, so that protocols and cards can name what they do not import."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    settings: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """A short text that tells two settings of one plug-in apart, such as ``bn_distance(statistics=auxiliary)``."""
        if not self.settings:
            return self.name
        return f"{self.name}({', '.join(f'{k}={v}' for k, v in sorted(self.settings.items()))})"


class AttackSpec(PluginSpec):
    """An attack by name with its settings."""


class DefenseSpec(PluginSpec):
    """A defence by name with its settings."""


class BackboneSpec(BaseModel):
    """A timm model name with its arguments; ``norm`` among them exchanges the normalisation of any model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kwargs: Mapping[str, Any] = Field(default_factory=dict)


class Plugin(BaseModel):
    """Base of attacks and defences: a frozen model whose fields are its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    summary: ClassVar[str]
    reference: ClassVar[Reference]

    def settings(self) -> dict[str, Any]:
        """Every setting with its value, as JSON data."""
        return self.model_dump(mode="json")


Statistics = Literal["stored", "auxiliary", "partial", "feature_means", "repaired"]


# What may be asked of each kind of layer.
_STATISTICS: dict[str, tuple[str, ...]] = {
    "pixels": ("value",),
    "similarity": ("value",),
    "embedding": ("value",),
    "norm": ("mean", "mean_var"),
    "activations": ("mean", "mean_std"),
    "map": ("crops",),
    "head": ("loss", "logit", "entropy"),
}


class SignalRequest(BaseModel):
    """One quantity per photo that an attack wants from the target.

    ``layers="pixels"``: the photo itself, as a grey thumbnail of 16 x 16 with mean 0 and length 1, (N, 256).
    ``layers="similarity"``: answers that are read as cosines of pairs only, by :meth:`Signals.cosines`.
    ``layers="embedding"``: the embedding of ``view``, (N, D); with ``raw`` the one before the card's inference transform
    (needs weights), otherwise what the deployed system returns, the mean of ``queries`` answers.  With
    ``reference="auxiliary"`` (needs weights) it is that of the backbone whose BatchNorm statistics the attacker has
    estimated again on public photos.  With ``gradients`` it is the norm (N, 1) of the gradient of
    1 - cos(f(x), f(view(x))) with respect to the photo (``input``) or to all weights (``weights``).
    ``layers="norm"``: per normalisation layer a distance between the photo's feature statistics and the layer's
    ``reference`` statistics, (N, L); ``statistic`` is ``mean`` (arXiv 2401.13719, d_i) or ``mean_var`` (diagonal
    Mahalanobis of mean and variance: two columns a layer, (N, 2L)).  ``repaired`` puts statistics estimated on public photos
    back into the backbone first, so that the features before later layers are those of a backbone that nobody perturbed.
    ``layers="activations"``: the spatial means of every channel before every normalisation layer (every convolution's output
    where there are none), (N, C_1 + .. + C_L); ``mean_std`` adds one standard deviation a layer, (N, C_1 + .. + C_L + L).
    ``layers="map"``: how ``crops`` random parts of the photo respond to its last feature map, (N, 2 crops); see
    :mod:`benchmark.signals.part_responses`.
    ``layers="head"`` (needs the training head): ``loss``, ``logit`` or ``entropy`` of the photo's own class, (N, 1); see
    :mod:`benchmark.signals.head`.

    ``view`` is a name of :mod:`benchmark.signals.views`, such as ``flip`` or ``augment-3``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: Literal["pixels", "similarity", "embedding", "norm", "activations", "map", "head"]
    statistic: Literal["value", "mean", "mean_var", "mean_std", "crops", "loss", "logit", "entropy"] = "value"
    reference: Statistics = "stored"
    view: str = "identity"
    raw: bool = False
    gradients: Literal["none", "input", "weights"] = "none"
    queries: int = Field(1, ge=1)
    crops: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _has_a_meaning(self) -> SignalRequest:
        allowed = _STATISTICS[self.layers]
        if self.statistic not in allowed:
            raise ValueError(f"{self.layers} signals have no statistic {self.statistic!r}; one of {', '.join(allowed)}.")
        if (self.layers == "map") != (self.crops > 0):
            raise ValueError("map signals need a number of crops, others have none.")
        if self.gradients != "none" and (self.layers != "embedding" or self.view == "identity"):
            raise ValueError("gradients are those of the embedding's agreement with another view than 'identity'.")
        return self

    @property
    def access(self) -> Access:
        """The least access that can compute it."""
        if self.layers == "head":
            return Access.HEAD
        if self.layers in ("pixels", "similarity"):
            return Access.SIMILARITY
        deployed = self.layers == "embedding" and not self.raw and self.reference == "stored" and self.gradients == "none"
        return Access.EMBEDDING if deployed else Access.WEIGHTS

    @property
    def key(self) -> str:
        """Its name in a :class:`Signals` and in the cache."""
        if self.gradients != "none":
            return f"gradient.{self.gradients}.{self.view}"
        if self.layers == "norm":
            return f"norm.{self.statistic}.{self.reference}.{self.view}"
        if self.layers == "map":
            return f"map.{self.crops}"
        if self.layers != "embedding":
            return f"{self.layers}.{self.statistic}.{self.view}"
        recalibrated = "" if self.reference == "stored" else f"{self.reference}."
        repeated = "" if self.queries == 1 else f".x{self.queries}"
        return f"{'raw_' if self.raw else ''}embedding.{recalibrated}{self.view}{repeated}"


@dataclass(frozen=True)
class Signals:
    """Signals of N photos under one model (or several, concatenated).

    ``identity`` (N,) int says which photos show the same person: attacks that declare ``needs_gallery`` may use it.
    ``values`` may be memory-mapped.  ``group`` (N,) int tells the models of a concatenation apart.
    """

    values: Mapping[str, np.ndarray]
    identity: np.ndarray
    group: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.identity)

    def __getitem__(self, request: SignalRequest) -> np.ndarray:
        if request.layers == "similarity":
            raise AccessError("an attacker with 'similarity' access is told cosines of pairs alone: use Signals.cosines.")
        return self._value(request)

    def cosines(self, request: SignalRequest, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Similarity scores of photos ``rows`` (n,) to photos ``columns`` (m,), (n, m), of a ``similarity`` request."""
        unit = self._value(request)
        return np.asarray(unit[rows], np.float64) @ np.asarray(unit[columns], np.float64).T

    def _value(self, request: SignalRequest) -> np.ndarray:
        try:
            return self.values[request.key]
        except KeyError:
            raise KeyError(f"signal {request.key!r} was not requested; present: {sorted(self.values)}") from None

    def take(self, index: np.ndarray) -> Signals:
        """The same signals of some photos, in the order of ``index`` (int, or a mask)."""
        group = self.group[index] if len(self.group) else self.group
        return replace(self, values={k: v[index] for k, v in self.values.items()}, identity=self.identity[index], group=group)

    @staticmethod
    def concatenate(parts: Sequence[Signals]) -> Signals:
        """Signals of several models, one after the other; ``group`` is the model's position.  Keys common to all are kept."""
        keys = set(parts[0].values).intersection(*(set(p.values) for p in parts))
        return Signals(
            values={k: np.concatenate([p.values[k] for p in parts]) for k in sorted(keys)},
            identity=np.concatenate([p.identity for p in parts]),
            group=np.concatenate([np.full(len(p), i) for i, p in enumerate(parts)]),
        )


@dataclass(frozen=True)
class QueryShadow:
    """A shadow backbone asked about the very photos that are scored: row i of ``signals`` is photo i of the target's.

    ``inside`` (N,) bool: on the sample contrast, the shadow trained on this photo (and on its person in any case); on the
    identity contrast, it trained on other photos of this person.  All False for shadows of public people (offline).
    """

    signals: Signals
    inside: np.ndarray

    def take(self, index: np.ndarray) -> QueryShadow:
        """The same shadow on some of the photos, in the order of ``index``."""
        return QueryShadow(self.signals.take(index), self.inside[index])


class MembershipAttack(Plugin):
    """Tells photos (or people) of the training set from others.

    ``fit`` sees signals with labels (1 = positive of the contrast) according to the attack's knowledge: of a labelled
    share of the target's people (``partial``), or of shadow backbones on their own people (``auxiliary``).  It is not
    called where the knowledge is ``none``.  An attack that judges each photo against shadow backbones asked about the same
    photo (``calibrates``) is given them by ``calibrate`` after ``fit`` and before ``score``; under ``query_pool`` these are
    its only source, and ``fit`` is not called.  ``score`` returns (N,) floats, higher = more likely member.  None of them
    computes a metric.
    One instance serves one fit: fitted state lives in private attributes.
    """

    access: ClassVar[Access]
    contrasts: ClassVar[tuple[Contrast, ...]]
    needs_gallery: ClassVar[bool] = False
    knowledge: Knowledge = Knowledge.NONE

    @property
    def mixes(self) -> bool:
        """Whether it learns from seen and unseen photos of members together, whatever the contrast: for attacks on people."""
        return False

    @property
    def calibrates(self) -> bool:
        """Whether this configuration wants shadows asked about the photos that it scores."""
        return self.knowledge == Knowledge.QUERY_POOL

    def required_access(self) -> Access:
        """What this configuration must touch; more than the class's ``access`` where a setting asks for more."""
        return self.access

    def requests(self) -> tuple[SignalRequest, ...]:
        """The signals that ``fit`` and ``score`` read."""
        raise NotImplementedError

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        """Learn from labelled signals; the default learns nothing."""

    def calibrate(self, shadows: Sequence[QueryShadow]) -> None:
        """Take what shadows say of the photos that ``score`` will be asked about, row by row; the default takes nothing."""

    def score(self, signals: Signals) -> np.ndarray:
        """(N,) floats, higher = more likely member."""
        raise NotImplementedError

    def differentiable_score(self, signals: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(B,) what :meth:`score` gives, from tensors by request key, with gradients: a guide for inversion.

        Raises:
            NotApplicableError: the attack has no such form.
        """
        raise NotApplicableError(f"membership attack {self.name!r} has no differentiable score to guide an inversion by.")


class Photos(Protocol):
    """An ordered set of face photos, each with a person; read lazily, in batches."""

    identity: np.ndarray  # (N,) int, people as numbers 0..P-1 in order of first appearance is NOT promised
    keys: Sequence[str]  # (N,) a stable name for each photo
    digest: str  # content hash of the set

    def __len__(self) -> int: ...

    def load(self, index: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Photos as uint8 (B, 3, H, W), RGB."""
        ...

    def take(self, index: Sequence[int] | np.ndarray) -> Photos:
        """Some of the photos, in the order of ``index``."""
        ...


@dataclass(frozen=True)
class Batch:
    """A training batch on its way to the backbone; a defence that changes it makes another with ``dataclasses.replace``."""

    index: np.ndarray  # (B,) positions in the trainer's photos
    inputs: torch.Tensor  # (B, 3, H, W) normalised, flipped where the track flips
    labels: torch.Tensor  # (B,) class indices
    epoch: int  # 0 for the first
    step: int  # 0 for the first of the run
    notes: dict[str, Any] = field(default_factory=dict)  # what a defence hands on to a later stage, under its name


@dataclass(frozen=True)
class ForwardPass(Batch):
    """A batch with what the networks made of it; everything carries gradients."""

    embeddings: torch.Tensor = field(kw_only=True)  # (B, D) of the backbone, before the ``embed`` stage
    logits: torch.Tensor = field(kw_only=True)  # (B, classes) of the head, with its margin, after the ``embed`` stage
    features: Mapping[str, torch.Tensor] = field(default_factory=dict, kw_only=True)  # outputs of the ``watched`` modules


class Goal(StrEnum):
    """What an inversion is after.  Only the second measures what a backbone keeps of its *training* faces."""

    TEMPLATE = "template"  # A: one leaked embedding -> a face of that person, member or not
    TRAINING_IDENTITIES = "training_identities"  # B: nothing -> faces of people that were trained on


class FaceGenerator(Protocol):
    """A pre-trained generator of faces with a mapping network, as StyleGAN2 has one; frozen by whoever hands it out."""

    resolution: int
    z_dim: int
    w_dim: int
    num_ws: int  # latents of a photo in W+
    w_avg: torch.Tensor  # (w_dim,)

    def mapping(self, z: torch.Tensor, truncation: float = 1.0) -> torch.Tensor:
        """(B, z_dim) standard normal -> (B, num_ws, w_dim), the same w for every layer."""
        ...

    def images(self, ws: torch.Tensor) -> torch.Tensor:
        """(B, num_ws, w_dim) -> float (B, 3, resolution, resolution) in [0, 1]; differentiable, the same for the same ws."""
        ...


ImageFunction = Callable[["torch.Tensor"], "torch.Tensor"]  # images (B, 3, H, W) float in [0, 1] -> (B, ...), differentiable
SimilarityScores = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]


@dataclass(frozen=True)
class InversionContext:
    """Everything that an inversion attack is given.

    ``target`` is a ``benchmark.signals.target.Target`` narrowed to the attack's access.  Images are float (B, 3, S, S) in [0,
    1] with
    S = ``image_size``; generators of another size are resized.
    """

    goal: Goal
    target: Any
    count: int  # images wanted; for the goal ``template`` one for each template
    image_size: int
    public: Photos  # faces that the attacker holds
    seed: int
    device: torch.device
    generator: FaceGenerator | None = None
    generator_training: Photos | None = None  # the faces that the generator was trained on, where they are known
    templates: torch.Tensor | None = None  # (count, D) leaked embeddings, as the system returned them; with `embedding` access
    similarity: SimilarityScores | None = None  # images (B, ...), template numbers (B,) int -> cosines (B,); every image counts
    classes: torch.Tensor | None = None  # (count,) class of each template's person in the training head; with `head` access
    guide: Callable[[AttackSpec], ImageFunction] | None = None  # a membership attack fitted as in stage 1 -> (B,) member logits
    surrogate: Callable[[], ImageFunction] | None = None  # an encoder of the attacker's own, which never saw the target: (B, D)


@dataclass(frozen=True)
class Inversion:
    """What an inversion attack returns.

    ``images`` float (count, 3, S, S) in [0, 1]; ``trace`` (steps,) the mean objective after each step, lower is better,
    empty where nothing is optimised.  ``notes`` tell a reader what was done otherwise than asked.
    """

    images: torch.Tensor
    trace: Sequence[float] = ()
    notes: Sequence[str] = ()


class InversionAttack(Plugin):
    """Rebuilds faces from a backbone.  Returns images and the trace of its objective; computes no metric."""

    access: ClassVar[Access]
    goals: ClassVar[tuple[Goal, ...]]
    control: ClassVar[bool] = False  # what every attack must beat

    def required_access(self) -> Access:
        """What this configuration must touch; more than the class's ``access`` where a setting asks for more."""
        return self.access

    def invert(self, context: InversionContext) -> Inversion:
        """``context.count`` images.  The same context gives the same images.

        Raises:
            NotApplicableError: what the attack needs is not there; the text says what and how to get it.
        """
        raise NotImplementedError


class Trainer(Protocol):
    """What the training stages of a defence are given (implemented by ``benchmark.training.pipeline.Trainer``)."""

    backbone: nn.Module
    head: nn.Module
    extra: nn.ModuleDict  # what the defences' ``modules`` stages added
    photos: Photos
    config: Any  # benchmark.protocol.track.TrainingConfig, as the ``configure`` stages left it
    input: Any  # benchmark.protocol.track.InputSpec
    device: torch.device
    seed: int
    epoch: int  # epochs done
    public: Photos | None
    provenance: dict[str, Any]  # what a defence wants written in the card, such as its measured (epsilon, delta)

    @property
    def embedding_size(self) -> int: ...

    @property
    def classes(self) -> int: ...

    def step_count(self) -> int:
        """Optimiser steps of the whole schedule."""
        ...

    def run(self, epochs: int | None = None) -> None:
        """The plain loop with every training stage, for the configured or for ``epochs`` epochs."""
        ...


@dataclass(frozen=True)
class ReleaseContext:
    """What the ``release`` stage is given beside the trained backbone."""

    photos: Photos  # trained on
    public: Photos | None
    input: Any  # benchmark.protocol.track.InputSpec
    seed: int
    device: torch.device
    provenance: dict[str, Any] = field(default_factory=dict)  # goes to the card; ``claim`` becomes its claim


TRAINING_STAGES = frozenset(("configure", "modules", "watched", "transform_batch", "embed", "loss"))


class Defense(Plugin):
    """A way to train or to release a backbone so that it leaks less.

    Stages, each doing nothing by default, in the order in which they are called:

    - ``prepare`` changes the architecture;
    - ``fit`` owns the training loop (at most one in a composition); the plain loop calls the finer stages of all members:
      ``configure`` (schedule), ``modules`` (networks trained beside), ``watched`` (hidden layers to look at), and for every
      batch ``transform_batch`` (photos), ``embed`` (what the head sees) and ``loss`` (objective);
    - ``release`` changes the trained weights;
    - ``inference`` names a transform of the embeddings from the closed set in ``benchmark.models.output_transforms``.
    """

    family: ClassVar[str]  # none | bn_statistics | dp | training | architecture | embedding
    couples_samples: ClassVar[bool] = False  # one sample's gradient depends on others: DP refuses it
    needs_public: ClassVar[bool] = False  # wants the track's auxiliary people
    post_hoc: ClassVar[bool] = False  # only ``release``/``inference``: undefended weights and shadows are reused
    needs_batchnorm: ClassVar[bool] = False  # refused where no BatchNorm is left for it to act on
    resets_statistics: ClassVar[bool] = False  # writes all BatchNorm statistics afresh: what was done to them before is lost
    honours: ClassVar[frozenset[str]] = TRAINING_STAGES  # an owner of ``fit``: the other members' stages that its loop calls
    not_applicable: ClassVar[str] = ""  # why it has nothing to act on in a backbone without a head; recorded, never ranked

    def check(self, backbone: BackboneSpec, photos: int) -> None:
        """Raise :class:`FaceVeilError` for what cannot work, before anything is trained.

        Args:
            backbone: as all ``prepare`` stages left it.
            photos: how many will be trained on.
        """

    def uses_public(self) -> bool:
        """Whether this configuration trains on the track's auxiliary people: ``needs_public``, or what a setting says."""
        return self.needs_public

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        """Change the architecture before training, by what a card can name: ``norm`` and the backbone's own arguments.

        Applied to its own result it must change nothing: shadows start from the card's backbone.
        """
        return backbone

    def configure(self, config: Any) -> Any:
        """Change the schedule (a ``benchmark.protocol.track.TrainingConfig``, by ``model_copy``)."""
        return config

    def modules(self, trainer: Trainer) -> Mapping[str, nn.Module]:
        """Further networks, under the plug-in's name: trained with the backbone, checkpointed, never released.

        They are found in ``trainer.extra``.  Their buffers are the place for state that has to survive an interruption.
        """
        return {}

    def watched(self, backbone: nn.Module) -> Sequence[str]:
        """Names of modules of the backbone whose outputs ``loss`` wants to see."""
        return ()

    def transform_batch(self, batch: Batch, trainer: Trainer) -> Batch:
        """Change a batch before the forward pass; torch's global generator is seeded for every epoch."""
        return batch

    def embed(self, embeddings: torch.Tensor, batch: Batch, trainer: Trainer) -> torch.Tensor:
        """Embeddings (B, D) in, what the head sees in training (B, D) out."""
        return embeddings

    def loss(self, loss: torch.Tensor, batch: ForwardPass, trainer: Trainer) -> torch.Tensor:
        """Per-sample losses (B,) in, per-sample losses (B,) out; their mean is descended."""
        return loss

    def fit(self, trainer: Trainer) -> None:
        """Train ``trainer.backbone`` and ``trainer.head`` in place; the default runs the plain loop."""
        trainer.run()

    def release(self, backbone: nn.Module, context: ReleaseContext) -> nn.Module:
        """Change the trained backbone, in evaluation mode, before it is handed out (in place or as another module)."""
        return backbone

    def released_spec(self, backbone: BackboneSpec) -> BackboneSpec:
        """The architecture that ``release`` hands out, where it is another than the one that was trained."""
        return backbone

    def inference(self) -> dict[str, Any] | None:
        """The inference transform that the card names, or None."""
        return None

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Attacks that know this defence, run beside the track's.  Without any it is marked "not adaptively tested"."""
        return ()
