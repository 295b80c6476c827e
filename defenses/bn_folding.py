"""BatchNorm folded into the layers around it: the statistics are no longer written anywhere."""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import nn

from benchmark.interfaces import AttackSpec, BackboneSpec, Defense, FaceVeilError, Reference, ReleaseContext
from benchmark.models.normalisation import fold, named
from defenses.shared.adaptive import against_missing_statistics

TOLERANCE = 1e-3  # of the embeddings' length; rounding stays below 1e-4


class BNFolding(Defense):
    """Every BatchNorm is taken into the convolution that feeds it, or left as a scale and a shift, at release.

    The function of the network stays the same, so it hides the running mean and nothing else: the attacker estimates the
    means of features on public faces.
    """

    name: ClassVar[str] = "bn_folding"
    title: ClassVar[str] = "BatchNorm folding"
    summary: ClassVar[str] = "BatchNorm folded into the convolutions at release: same embeddings, no statistics left."
    reference: ClassVar[Reference] = Reference(
        title="Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
        where="CVPR 2018",
        arxiv="1712.05877",
        equation="14",
    )
    family: ClassVar[str] = "bn_statistics"
    post_hoc: ClassVar[bool] = True
    needs_batchnorm: ClassVar[bool] = True

    def release(self, backbone: nn.Module, context: ReleaseContext) -> nn.Module:
        """Folds, and makes sure on noise that the embeddings stay.

        Raises:
            FaceVeilError: layers of this architecture are wired otherwise than they are defined.
        """
        folded = fold(copy.deepcopy(backbone).eval())
        generator = torch.Generator().manual_seed(context.seed)
        probes = torch.randn(4, 3, *context.input.size, generator=generator).to(context.device)
        with torch.inference_mode():
            before, after = backbone.eval()(probes), folded(probes)
        if (before - after).norm(dim=1).max() > TOLERANCE * before.norm(dim=1).mean():
            raise FaceVeilError(
                "bn_folding: folding would change the embeddings of this backbone, whose BatchNorm layers are not fed by the "
                "layers defined before them; choose one of FaceVeil's own (see `faceveil list backbones`)."
            )
        return folded

    def released_spec(self, backbone: BackboneSpec) -> BackboneSpec:
        return named(backbone, "folded")

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Whoever misses the statistics estimates the means of the features instead."""
        return against_missing_statistics()
