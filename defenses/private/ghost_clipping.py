"""Clipped per-unit gradients of a face-recognition network, without ever holding one gradient per unit.

Opacus' ghost clipping (arXiv 2009.03106) with rules for the layers that our backbones and heads are made of, and with one
pass backward instead of two.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.grad_sample.functorch import ft_compute_per_sample_gradient
from opacus.utils.module_utils import trainable_parameters
from torch import Tensor, nn

from benchmark.interfaces import FaceVeilError
from benchmark.models.heads import ArcFace, CosFace, Head, Softmax
from benchmark.models.layer_gradients import (
    affine_gradients,
    conv_norms,
    conv_sums,
    cosine_head_norms,
    cosine_head_sums,
    linear_norms,
    linear_sums,
    prelu_gradients,
)
from benchmark.models.normalisation import ChannelAffine

_REMEDY = "Choose a backbone without BatchNorm, shared weights and operations in place, such as iresnet_slim with norm='group'."


def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
    if parameter.requires_grad:
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


class Classifier(nn.Module):
    """Backbone and head as one module, so that one norm covers the gradients of both."""

    def __init__(self, backbone: nn.Module, head: Head) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.embeddings = torch.empty(0)  # of the last images, for whoever wants to look at them

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Training logits (B, classes)."""
        embeddings = self.backbone(images)
        self.embeddings = embeddings.detach()
        out: Tensor = self.head(embeddings, labels)
        return out


class GhostClipping(GradSampleModuleFastGradientClipping):  # type: ignore[misc]  # Opacus ships no types
    """A :class:`Classifier` that adds up clipped per-sample gradients.

    Layers not named below are handled by Opacus: by its own rules, or by its functional fallback.

    Raises:
        FaceVeilError: BatchNorm, a head that couples photos, or a layer that per-sample gradients do not exist for.
    """

    NORM_SAMPLERS: dict[type[nn.Module], Any] = {
        nn.Conv2d: conv_norms,
        nn.Linear: linear_norms,
        Softmax: linear_norms,
        CosFace: cosine_head_norms,
        ArcFace: cosine_head_norms,
    }
    SUMS: ClassVar[dict[type[nn.Module], Any]] = {
        nn.Conv2d: conv_sums,
        nn.Linear: linear_sums,
        Softmax: linear_sums,
        CosFace: cosine_head_sums,
        ArcFace: cosine_head_sums,
    }
    GRAD_SAMPLERS: dict[type[nn.Module], Any] = {
        **GradSampleModuleFastGradientClipping.GRAD_SAMPLERS,
        nn.PReLU: prelu_gradients,
        ChannelAffine: affine_gradients,
    }

    def __init__(self, classifier: Classifier, max_grad_norm: float) -> None:
        _refuse_coupling(classifier)
        self._passed: list[tuple[nn.Module, list[Tensor], Tensor]] = []  # layer, inputs, errors of the current pass
        self.rows = 1  # photos of a unit
        try:
            super().__init__(classifier, loss_reduction="sum", max_grad_norm=max_grad_norm)
        except NotImplementedError as error:
            raise FaceVeilError(f"no per-sample gradients for this backbone: {error}. {_REMEDY}") from error

    def check(self, images: Tensor, labels: Tensor) -> None:
        """Tries one pass on two photos, (2, 3, H, W) and (2,), before anything is trained.

        Raises:
            FaceVeilError: the first photo's loss depends on the second photo, a parameter takes no part, operations work in
                place, layers share weights, or the norms noted are not those that autograd finds.
        """
        self.rows = 1
        images = images.detach().requires_grad_()
        names, parameters = zip(*trainable_parameters(self._module), strict=True)
        try:
            loss = F.cross_entropy(self(images, labels)[:1], labels[:1])
            to_images, *gradients = torch.autograd.grad(loss, [images, *parameters], allow_unused=True)
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            raise FaceVeilError(f"no per-sample gradients for this backbone: {error} {_REMEDY}") from error
        if to_images[1].abs().max() > 0:
            raise FaceVeilError(f"one photo's embedding depends on the other photos of its batch: no privacy holds. {_REMEDY}")
        idle = [name for name, gradient in zip(names, gradients, strict=True) if gradient is None]
        if idle:
            raise FaceVeilError(f"parameters without gradient: {', '.join(idle[:5])}. Freeze or remove them.")
        wanted = torch.stack([gradient.norm() for gradient in gradients])
        found = torch.stack(self._norms(2))[:, 0]
        tolerance = 0.01 * wanted + 1e-5 * wanted.norm()
        wrong = [name for name, far in zip(names, (found - wanted).abs() > tolerance, strict=True) if far]
        if wrong:
            raise FaceVeilError(f"per-sample gradients go wrong at {', '.join(wrong[:5])}. {_REMEDY}")
        self._passed.clear()
        self.set_grad_sample_to_none()

    def capture_backprops_hook(self, module: Any, _inputs: Any, errors: Any, **_settings: Any) -> None:
        """Called by autograd for every layer: notes the norms, or per-sample gradients where these are few or the only way."""
        if not self.hooks_enabled:
            return
        inputs, error = module.activations.pop(), errors[0].detach()
        if type(module) in self.NORM_SAMPLERS:
            for parameter, norms in self.NORM_SAMPLERS[type(module)](module, inputs, error, self.rows).items():
                parameter._norm_sample = norms
            self._passed.append((module, inputs, error))
        else:
            rule = self.GRAD_SAMPLERS.get(type(module), ft_compute_per_sample_gradient)
            for parameter, gradients in rule(module, inputs, error).items():
                if self.rows > 1:
                    gradients = gradients.unflatten(0, (-1, self.rows)).sum(1)
                used_before = parameter.grad_sample
                parameter.grad_sample = gradients if used_before is None else used_before + gradients
        for _, parameter in trainable_parameters(module):
            parameter._forward_counter -= 1

    def accumulate(self, images: Tensor, labels: Tensor, rows: int = 1, weights: Tensor | None = None) -> Tensor:
        """Adds the clipped gradient of every unit's cross entropy to ``.grad``; returns the losses (B,), detached.

        Args:
            rows: consecutive photos that make a unit: one gradient, one clip (arXiv 2204.13650, section 3.2, for views).
            weights: (B,) of the photos within their unit; default their mean.

        One pass backward gives the errors of all layers, from them the norms, and from errors scaled by the clipping factors
        the sum of the clipped gradients, layer by layer (arXiv 2210.00038).
        """
        if len(images) % rows:
            raise ValueError(f"{len(images)} photos do not make whole units of {rows}")
        self.rows = rows
        images = images.detach().requires_grad_()
        losses = F.cross_entropy(self(images, labels), labels, reduction="none")
        weighted = losses / rows if weights is None else losses * weights
        weighted.sum().backward(inputs=[images])  # no further than to the errors: gradients of weights would be thrown away
        self._add_clipped(self.clipping_factors(len(losses) // rows))
        return losses.detach()

    def _norms(self, units: int) -> list[Tensor]:
        """Every trainable parameter's norms (B,) of the last pass, as noted by the hooks, which are then forgotten."""
        norms = []
        for parameter in self.trainable_parameters:
            noted = parameter.__dict__.pop("_norm_sample", None)
            if parameter.grad_sample is not None:
                noted = torch.linalg.vector_norm(parameter.grad_sample, dim=tuple(range(1, parameter.grad_sample.dim())))
            norms.append(parameter.new_zeros(units) if noted is None else noted.to(parameter.dtype))
        return norms

    def clipping_factors(self, units: int) -> Tensor:
        """What every unit's gradient is scaled by, (units,), so that its norm is at most the bound."""
        self.per_sample_gradient_norms = torch.stack(self._norms(units)).norm(dim=0)
        out: Tensor = (self.max_grad_norm / (self.per_sample_gradient_norms + 1e-6)).clamp(max=1)
        return out

    def _add_clipped(self, factors: Tensor) -> None:
        """Adds every parameter's gradients, scaled by their units' ``factors`` (units,), to its ``.grad``."""
        by_row = factors.repeat_interleave(self.rows)
        while self._passed:
            module, inputs, errors = self._passed.pop()
            scaled = errors * by_row.to(errors.dtype).view(-1, *[1] * (errors.dim() - 1))
            for parameter, gradient in self.SUMS[type(module)](module, inputs, scaled).items():
                _add(parameter, gradient)
        for parameter in self.trainable_parameters:
            if parameter.grad_sample is not None:
                _add(parameter, _weighted_sum(parameter.grad_sample, factors).to(parameter.dtype))
                parameter.grad_sample = None

    @property
    def classifier(self) -> Classifier:
        """The module as it was given."""
        result: Classifier = self._module
        return result

    def unwrap(self) -> None:
        """Takes every trace of Opacus off the parameters and modules, their gradients too."""
        self._passed.clear()
        self.to_standard_module()
        for parameter in self.trainable_parameters:
            parameter.grad = None
            parameter.__dict__.pop("summed_grad", None)
        for module in self._module.modules():
            module.__dict__.pop("activations", None)


def _weighted_sum(gradients: Tensor, factors: Tensor) -> Tensor:
    """Sum of gradients (N, ...) times factors (N,), without a copy of those whose channels come last in memory."""
    last = gradients.movedim(2, -1) if gradients.dim() > 3 else gradients
    total = (factors.to(last.dtype) @ last.flatten(1)).view(last.shape[1:])
    return total.movedim(-1, 1) if gradients.dim() > 3 else total


def _refuse_coupling(classifier: Classifier) -> None:
    """Refuses what makes one photo's gradient depend on another photo, or hides it from the hooks."""
    head = classifier.head
    if head.couples_samples or type(head) not in GhostClipping.NORM_SAMPLERS:
        allowed = ", ".join(kind.__name__.lower() for kind in GhostClipping.NORM_SAMPLERS if issubclass(kind, Head))
        raise FaceVeilError(
            f"the {type(head).__name__} head keeps statistics over photos or has no rule for per-photo gradients, "
            f"so that no clipping covers a photo's influence: choose one of {allowed}."
        )
    for name, layer in classifier.backbone.named_modules():
        tracking = getattr(layer, "track_running_stats", False)
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) or tracking:
            raise FaceVeilError(
                f"the backbone keeps {type(layer).__name__} at {name!r}: its statistics mix the photos of a batch and are "
                "released without noise, so that no privacy guarantee holds. Build the backbone with norm='group' or 'layer'."
            )
