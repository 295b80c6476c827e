"""Signals: what an attack asks of a target, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from benchmark.interfaces.errors import AccessError
from benchmark.interfaces.threat import Access

Statistics = Literal["stored", "auxiliary", "partial", "feature_means", "repaired"]


class SignalRequest(BaseModel):
    """One quantity per photo that an attack wants from the target: the base of every kind's request.

    A kind is one file of :mod:`benchmark.signals` (or of whoever brings it along): the subclass of this that attacks name, and
    the :class:`benchmark.signals.kind.SignalKind` that serves it.  The subclass states :attr:`key` and :attr:`access`; its
    fields are its settings.  ``view`` is a name of :mod:`benchmark.signals.views`, such as ``flip`` or ``augment-3``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs_only: ClassVar[bool] = False  # read as cosines of pairs, by Signals.cosines
    backward: ClassVar[bool] = False  # needs a pass backward, which takes more memory and cannot run in inference mode
    follows_architecture: ClassVar[bool] = True  # models whose signals have other shapes do not compare

    view: str = "identity"

    @property
    def access(self) -> Access:
        """The least access that can compute it."""
        raise NotImplementedError

    @property
    def key(self) -> str:
        """Its name in a :class:`Signals` and in the cache: another one whenever its values change."""
        raise NotImplementedError

    @property
    def compared_with(self) -> Statistics | None:
        """The layers' statistics that the photo is compared with; None for none."""
        return None

    @property
    def recalibrates(self) -> bool:
        """True where it is read off the backbone with its statistics estimated again on the attacker's photos."""
        return False


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
        if request.pairs_only:
            raise AccessError("an attacker with 'similarity' access sees cosines of pairs only: use Signals.cosines.")
        return self._value(request)

    def cosines(self, request: SignalRequest, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Similarity scores of photos ``rows`` (n,) to photos ``columns`` (m,), (n, m), of a request for pairs only."""
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

    On the sample contrast these are all photos of the people it trained on (and of all others, where the attack asks for
    strangers); on the identity contrast photos that it did not
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
