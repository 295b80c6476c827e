"""Clipped per-unit gradients of a face-recognition network by holding one gradient per unit: Opacus' usual way.

It takes memory for units x parameters, and saves the second look at every layer that ghost clipping takes; the sums are the
same up to rounding.  ``faceveil bench dp`` measures both.
"""

from __future__ import annotations

from typing import Any

from opacus.grad_sample.linear import compute_linear_grad_sample
from torch import nn

from benchmark.ghost_clipping import GhostClipping
from benchmark.gradient_rules import conv_gradients, cosine_head_gradients
from benchmark.heads import ArcFace, CosFace, Softmax


class HookClipping(GhostClipping):
    """A :class:`~benchmark.ghost_clipping.GhostClipping` whose hooks note every layer's gradients."""

    NORM_SAMPLERS: dict[type[nn.Module], Any] = {}
    GRAD_SAMPLERS: dict[type[nn.Module], Any] = {
        **GhostClipping.GRAD_SAMPLERS,
        nn.Conv2d: conv_gradients,
        Softmax: compute_linear_grad_sample,
        CosFace: cosine_head_gradients,
        ArcFace: cosine_head_gradients,
    }
