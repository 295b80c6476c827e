"""Clipped per-unit gradients of a face-recognition network by holding one gradient per unit: Opacus' usual way.

It takes memory for units x parameters, and saves the second look at every layer that ghost clipping takes; the sums are the
same up to rounding.  ``faceveil bench dp`` measures both.
"""

from __future__ import annotations

from typing import Any

from opacus.grad_sample.linear import compute_linear_grad_sample
from torch import Tensor, nn

from benchmark.models.heads import ArcFace, CosFace, Softmax
from benchmark.models.layer_gradients import PerParameter, conv_gradients, cosine_head_gradients
from defenses.private.ghost_clipping import Classifier, GhostClipping


class HookClipping(GhostClipping):
    """A :class:`~defenses.private.ghost_clipping.GhostClipping` whose hooks note every layer's gradients.

    Those of convolutions, the largest, are written where the last step's were: fresh memory costs a processor more time than
    the numbers in it.
    """

    NORM_SAMPLERS: dict[type[nn.Module], Any] = {}
    GRAD_SAMPLERS: dict[type[nn.Module], Any] = {
        **GhostClipping.GRAD_SAMPLERS,
        nn.Conv2d: conv_gradients,
        Softmax: compute_linear_grad_sample,
        CosFace: cosine_head_gradients,
        ArcFace: cosine_head_gradients,
    }

    def __init__(self, classifier: Classifier, max_grad_norm: float) -> None:
        self._memory: dict[nn.Module, Tensor] = {}
        self.GRAD_SAMPLERS = {**type(self).GRAD_SAMPLERS, nn.Conv2d: self._conv_gradients}
        super().__init__(classifier, max_grad_norm)

    def _conv_gradients(self, layer: nn.Conv2d, inputs: list[Tensor], errors: Tensor) -> PerParameter:
        if getattr(layer.weight, "grad_sample", None) is not None:  # of an earlier pass, not yet summed up
            return conv_gradients(layer, inputs, errors)
        memory = self._memory.get(layer)
        if memory is None or len(memory) < len(errors) or memory.dtype != errors.dtype or memory.device != errors.device:
            memory = self._memory[layer] = errors.new_empty(len(errors), layer.weight.numel())
        return conv_gradients(layer, inputs, errors, memory[: len(errors)])

    def unwrap(self) -> None:
        self._memory.clear()
        super().unwrap()
