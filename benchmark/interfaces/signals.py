"""Signals: what an attack asks of a target, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmark.interfaces.errors import AccessError
from benchmark.interfaces.threat import Access

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
    "own": ("value",),
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

    layers: Literal["pixels", "similarity", "embedding", "norm", "activations", "map", "head", "own"]
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
        if self.layers == "own" and not isinstance(self, OwnSignal):
            raise ValueError("own signals are subclasses of OwnSignal, each with its key and access.")
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


class OwnSignal(SignalRequest):
    """The base of requests for a kind of signal that is defined outside this package, in the file of its ``SignalKind``.

    A subclass states :attr:`key`, which names its values in the cache and so changes whenever they do, and :attr:`access`.
    """

    layers: Literal["own"] = "own"

    @property
    def access(self) -> Access:
        """The least access that can compute it."""
        raise NotImplementedError

    @property
    def key(self) -> str:
        """Its name in a :class:`Signals` and in the cache."""
        raise NotImplementedError


@dataclass(frozen=True)
class Signals:
    """Signals of N photos under one model (or several, concatenated).

    ``identity`` (N,) int says which photos show the same person: attacks that declare ``needs_gallery`` may use it.
    ``values`` may be memory-mapped.  ``group`` (N,) int tells the models of a concatenation apart.  ``memo`` keeps what was
    computed of these very photos and values, where several attacks or targets ask for it (see :meth:`remembered`).
    """

    values: Mapping[str, np.ndarray]
    identity: np.ndarray
    group: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    memo: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    def remembered(self, key: Hashable, of: Callable[[Signals], Any]) -> Any:
        """``of(self)``, computed once for each ``key``, which must name the function and its settings."""
        if key not in self.memo:
            self.memo[key] = of(self)
        return self.memo[key]

    def __len__(self) -> int:
        return len(self.identity)

    def __getitem__(self, request: SignalRequest) -> np.ndarray:
        if request.layers == "similarity":
            raise AccessError("an attacker with 'similarity' access sees cosines of pairs only: use Signals.cosines.")
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
        values = {k: v[index] for k, v in self.values.items()}
        return Signals(values=values, identity=self.identity[index], group=group)

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
    """A shadow backbone in the target's place: asked about its own M photos, of which ``inside`` (M,) bool it trained on.

    On the sample contrast these are all photos of the people it trained on; on the identity contrast photos that it did not
    train on, ``inside`` being those of people it trained on.  ``rows`` (N,) int says where among them photo i of the target's
    N stands; -1 where the shadow says nothing of that photo.  Shadows of public people (offline) have nothing inside.
    """

    signals: Signals
    inside: np.ndarray
    rows: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """(N,) bool: the target's photos of which the shadow says something."""
        return np.asarray(self.rows >= 0)

    def aligned(self, values: np.ndarray) -> np.ndarray:
        """(N, ...) what ``values`` (M, ...) says of the target's photos; NaN where nothing."""
        found: np.ndarray = np.asarray(values, np.float64)[np.maximum(self.rows, 0)]
        found[~self.usable] = np.nan
        return found

    @property
    def aligned_inside(self) -> np.ndarray:
        """(N,) bool ``inside`` of the target's photos; False where the shadow says nothing."""
        return np.asarray(self.inside[np.maximum(self.rows, 0)] & self.usable)
