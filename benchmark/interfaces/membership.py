"""Membership inference attacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from benchmark.interfaces.errors import NotApplicableError
from benchmark.interfaces.plugins import Plugin
from benchmark.interfaces.signals import QueryShadow, SignalRequest, Signals
from benchmark.interfaces.threat import Access, Contrast, Knowledge

if TYPE_CHECKING:
    import torch


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
    asks_strangers: ClassVar[bool] = False  # on the sample contrast its shadows speak of people they did not train on, too
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
