"""Membership attacks as guides: fitted as in stage 1, then asked about images that are being optimised.

The founding paper's stage 2 (arXiv 2401.13719) moves a generator's latents until its membership attack says "member".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from benchmark.data.populations import SEEN, Populations
from benchmark.evaluation.membership.evidence import Shadows, gather
from benchmark.evaluation.membership.scores import training_signals
from benchmark.interfaces import (
    AttackSpec,
    Contrast,
    ImageFunction,
    Knowledge,
    MembershipAttack,
    NotApplicableError,
    SignalRequest,
)
from benchmark.protocol.registry import build_attack
from benchmark.signals.channel_moments import ReferenceStatistics, estimated_statistics, stored_statistics
from benchmark.signals.extraction import Reading, measure
from benchmark.signals.target import Target
from benchmark.training.shadows import Shadow, reference_pairs


@dataclass(frozen=True)
class Guides:
    """Builds guides for one target.

    Args:
        target: with ``weights`` access.
        shadows: the auxiliary ones; called when a guide needs them.
    """

    target: Target
    populations: Populations
    shadows: Callable[[], Iterable[Shadow]]
    cache: Path | None = None

    def __call__(self, spec: AttackSpec) -> ImageFunction:
        """Member logits (B,) of images (B, 3, H, W) in [0, 1], with gradients.

        Fitted on the contrast of the paper, seen photos against people never trained on, where the attack is made for it:
        generated faces are of neither side, and both differences should draw them.

        Raises:
            NotApplicableError: the attack has no differentiable score, or no meaning on this target.
        """
        attack = build_attack(spec)
        if type(attack).differentiable_score is MembershipAttack.differentiable_score:
            attack.differentiable_score({})  # tells why
        if attack.knowledge == Knowledge.QUERY_POOL:
            raise NotApplicableError("generated faces are in no query pool: a guide is fitted on other people.")
        self._fit(attack)
        requests = attack.requests()
        reading = Reading(self.target, requests, self._references(requests))

        def guide(images: Tensor) -> Tensor:
            return attack.differentiable_score(measure(reading, images))

        return guide

    def _fit(self, attack: MembershipAttack) -> None:
        if attack.knowledge == Knowledge.NONE:
            return
        contrast = Contrast.PAPER if Contrast.PAPER in attack.contrasts else attack.contrasts[0]
        shadows = Shadows(auxiliary=self.shadows() if attack.knowledge == Knowledge.AUXILIARY else ())
        evidence = gather(self.target, self.populations, [attack], shadows=shadows, cache=self.cache)
        if evidence.missing_on_target:
            raise NotApplicableError(next(iter(evidence.missing_on_target.values())))
        attack.fit(*training_signals(attack, evidence, contrast))

    def _references(self, requests: Iterable[SignalRequest]) -> Mapping[str, ReferenceStatistics]:
        found: dict[str, ReferenceStatistics] = {}
        for reference in {r.compared_with for r in requests if r.compared_with}:
            if reference == "stored":
                found[reference] = stored_statistics(self.target.backbone)
            elif reference == "repaired":
                raise NotApplicableError("a guide is differentiated through the backbone as it is shipped, not as repaired.")
            elif reference == "partial":
                known = np.flatnonzero(self.populations.labelled & (self.populations.side == SEEN))
                found[reference] = estimated_statistics(self.target, self.populations.queried.take(known), reference)
            else:
                public = self.populations.source(reference_pairs(self.populations), "reference")
                found[reference] = estimated_statistics(self.target, public, reference)
        return found
