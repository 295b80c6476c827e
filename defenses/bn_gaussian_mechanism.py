"""BatchNorm statistics of the training photos with a differential-privacy guarantee."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from benchmark.interfaces import AttackSpec, BackboneSpec, Defense, Photos, Reference, ReleaseContext
from benchmark.models.bn_statistics import inputs_of, reestimate, with_statistics
from benchmark.signals.extraction import channel_moments
from defenses.private.accounting import UpperBound, default_delta, noise_for_epsilon, upper_bound
from defenses.shared.adaptive import PAIRS_ANEW
from defenses.shared.public_photos import public_photos

LEAST_VARIANCE = 0.01  # of the public variance: noise must not make a variance vanish


class BNGaussianMechanism(Defense):
    """The Gaussian mechanism on clipped per-photo channel means and mean squares.

    A photo contributes one vector: the spatial mean and mean square of every channel before every BatchNorm, in units of their
    spread over public faces and about their public mean.  Vectors are clipped to one norm, summed, Gaussian noise is added, and
    the sum is divided by the number of photos, which is public.

    The guarantee covers the statistics, given the weights: features are computed with public statistics, so that a photo
    enters the release through its own vector alone.  The weights were trained on the photos without noise, so that of the model
    nothing is promised.  Its unit is one photo: neighbours are training sets of which one has a photo more.
    """

    name: ClassVar[str] = "bn_gaussian_mechanism"
    title: ClassVar[str] = "BatchNorm with a DP guarantee"
    summary: ClassVar[str] = "BatchNorm statistics by a Gaussian mechanism: an (epsilon, delta) of the statistics alone."
    reference: ClassVar[Reference] = Reference(
        title="Our Data, Ourselves: Privacy Via Distributed Noise Generation", where="EUROCRYPT 2006", equation="theorem 1"
    )
    family: ClassVar[str] = "bn_statistics"
    post_hoc: ClassVar[bool] = True
    draws_noise: ClassVar[bool] = True
    needs_public: ClassVar[bool] = True
    needs_batchnorm: ClassVar[bool] = True
    resets_statistics: ClassVar[bool] = True

    epsilon: PositiveFloat = Field(1.0, le=1e6, description="of the statistics")
    delta: float | None = Field(None, gt=0, lt=1, description="None: 1 / (number of photos) ^ 1.1")
    clip: PositiveFloat = Field(1.0, le=1000, description="norm bound, in units of the square root of the number of statistics")

    def check(self, backbone: BackboneSpec, photos: int) -> None:  # noqa: ARG002
        self.mechanism(photos)

    def mechanism(self, photos: int) -> tuple[float, UpperBound]:
        """Noise deviation in units of the clipping norm, and what it guarantees.

        Raises:
            FaceVeilError: no noise reaches the target.
        """
        delta = default_delta(photos) if self.delta is None else self.delta
        noise = noise_for_epsilon(self.epsilon, delta, 1.0, 1)  # one release of a sum in which every photo takes part
        return noise, upper_bound(1.0, noise, 1, delta)

    def release(self, backbone: nn.Module, context: ReleaseContext) -> nn.Module:
        noise, bound = self.mechanism(len(context.photos))
        public = reestimate(copy.deepcopy(backbone), public_photos(context), context.input, context.device)
        centre, spread = _location_and_scale(photo_moments(public, public_photos(context), context))
        bound_norm = self.clip * len(centre) ** 0.5
        total, clipped = torch.zeros_like(centre), 0
        for vectors in photo_moments(public, context.photos, context):
            standard = (vectors - centre) / spread
            norms = standard.norm(dim=1, keepdim=True)
            clipped += int((norms > bound_norm).sum())
            total += (standard * (bound_norm / norms.clamp_min(1e-12)).clamp(max=1)).sum(0)
        generator = torch.Generator().manual_seed(context.noise_seed)
        total += noise * bound_norm * torch.randn(len(total), generator=generator, dtype=torch.float64).to(total)
        _write(backbone, with_statistics(public), centre + spread * total / len(context.photos))
        context.provenance["claim"] = {
            "epsilon": bound.epsilon,
            "delta": bound.delta,
            "unit": "photo",
            "covers": "bn_statistics",
            "accountant": bound.accountant,
        }
        context.provenance[self.name] = {
            "noise_multiplier": noise,
            "statistics": len(centre),
            "photos_clipped": round(clipped / len(context.photos), 4),
            "guarantee": "of the statistics given the weights; of the model nothing is promised",
            "randomness": "from the installation's secret" if context.noise is not None else "from the published seed",
        }
        return backbone

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Statistics that are estimated again carry none of the noise."""
        distances = tuple(
            AttackSpec(name="bn_distance", settings={"statistics": s}) for s in ("auxiliary", "partial", "repaired")
        )
        heads = tuple(
            AttackSpec(name="regrown_head", settings={"statistics": "auxiliary", "knowledge": knowledge})
            for knowledge in ("none", "query_pool")
        )
        return (*distances, *heads, PAIRS_ANEW)


def photo_moments(backbone: nn.Module, photos: Photos, context: ReleaseContext) -> Iterator[Tensor]:
    """Yields (B, D) float64: what each photo of a batch contributes, by layer its channel means, then its mean squares."""
    layers = with_statistics(backbone)
    found: dict[str, Tensor] = {}

    def keep(name: str, features: Tensor) -> None:
        found[name] = torch.cat(channel_moments(features), dim=1).double()

    handles = [
        layer.register_forward_pre_hook(lambda _m, args, name=name: keep(name, args[0])) for name, layer in layers.items()
    ]
    backbone.eval()
    try:
        for inputs in inputs_of(photos, context.input, context.device):
            with torch.no_grad():
                backbone(inputs)
            yield torch.cat([found[name] for name in layers], dim=1)
    finally:
        for handle in handles:
            handle.remove()


def _location_and_scale(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation (D,) over photos; statistics that never vary get a deviation of 1e-6."""
    first = second = torch.zeros(())
    count = 0
    for vectors in batches:
        first, second, count = first + vectors.sum(0), second + vectors.square().sum(0), count + len(vectors)
    mean = first / count
    return mean, (second / count - mean.square()).clamp_min(0).sqrt().clamp_min(1e-6)


def _write(backbone: nn.Module, public: Mapping[str, Any], statistics: Tensor) -> None:
    """Puts means and mean squares into the BatchNorm layers as running means and variances."""
    start = 0
    for name, layer in with_statistics(backbone).items():
        channels = len(layer.running_mean)
        mean, square = statistics[start : start + channels], statistics[start + channels : start + 2 * channels]
        start += 2 * channels
        floor = LEAST_VARIANCE * public[name].running_var.double() + layer.eps * LEAST_VARIANCE
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(torch.maximum(square - mean.square(), floor))
