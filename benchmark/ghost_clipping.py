"""Per-sample clipped gradients of a face-recognition network, without ever holding one gradient per sample.

Opacus' ghost clipping (arXiv 2009.03106) with rules for the layers that our backbones and heads are made of, and with one
pass backward instead of two.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.grad_sample.functorch import ft_compute_per_sample_gradient
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from benchmark.heads import ArcFace, CosFace, Head, Softmax
from benchmark.interfaces import FaceVeilError

_REMEDY = "Choose a backbone without BatchNorm, shared weights and operations in place, such as iresnet_slim with norm='group'."

PerParameter = dict[nn.Parameter, Tensor]

# Numbers of unfolded maps held at once: about a processor's cache, or a modest part of a GPU's memory.
_CHUNK_CPU, _CHUNK_GPU = 1 << 18, 1 << 26


def _product_norms(a: Tensor, b: Tensor) -> Tensor:
    """Norms (N,) of the products sum_t a_t b_t^T of every sample, of all its groups G together.

    ``a`` (N, G, T, P), ``b`` (N, G, T, D).  By Gram matrices over t where they are smaller than the products.
    """
    positions, rows, columns = a.shape[2], a.shape[3], b.shape[3]
    if positions * (rows + columns) < rows * columns:
        squares = ((a @ a.mT) * (b @ b.mT)).sum((1, 2, 3))
    else:
        squares = (a.mT @ b).square().sum((1, 2, 3))
    return squares.clamp(min=0).sqrt()


def _padded(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """The input of a convolution with its padding made explicit, of whatever kind."""
    padding = layer._reversed_padding_repeated_twice
    if not any(padding):
        return x
    return F.pad(x, padding, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)


def _patches(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """What every output position of ``layer`` sees: (N, G, T, kernel x channels of the group)."""
    x = _padded(layer, x).permute(0, 2, 3, 1).contiguous()
    (kh, kw), (sh, sw), (dh, dw) = layer.kernel_size, layer.stride, layer.dilation
    count, height, width, channels = x.shape
    rows, columns = (height - dh * (kh - 1) - 1) // sh + 1, (width - dw * (kw - 1) - 1) // sw + 1
    n, y, z, c = x.stride()
    view = x.as_strided((count, rows, columns, kh, kw, channels), (n, sh * y, sw * z, dh * y, dw * z, c))
    if layer.groups == 1:
        return view.reshape(count, 1, rows * columns, -1)
    grouped = view.reshape(count, rows * columns, kh * kw, layer.groups, channels // layer.groups)
    return grouped.permute(0, 3, 1, 2, 4).reshape(count, layer.groups, rows * columns, -1)


def conv_norms(layer: nn.Conv2d, inputs: list[Tensor], errors: Tensor) -> PerParameter:
    """Norms of the gradients of a convolution's weight and bias."""
    x = inputs[0]
    by_position = errors.flatten(2).unflatten(1, (layer.groups, -1)).mT
    per_sample = layer.weight[0].numel() * layer.groups * by_position.shape[2]
    size = max(1, (_CHUNK_CPU if x.device.type == "cpu" else _CHUNK_GPU) // per_sample)
    parts = zip(x.split(size), by_position.split(size), strict=True)
    norms = {layer.weight: torch.cat([_product_norms(_patches(layer, part), back) for part, back in parts])}
    if layer.bias is not None:
        norms[layer.bias] = errors.sum((2, 3)).norm(dim=1)
    return norms


def conv_sums(layer: nn.Conv2d, inputs: list[Tensor], errors: Tensor) -> PerParameter:
    """Gradients of a convolution's weight and bias."""
    x, padding = inputs[0], layer.padding
    if layer.padding_mode != "zeros" or isinstance(padding, str):
        x, padding = _padded(layer, x), 0
    weight = conv2d_weight(x, layer.weight.shape, errors, layer.stride, padding, layer.dilation, layer.groups)
    sums = {layer.weight: weight}
    if layer.bias is not None:
        sums[layer.bias] = errors.sum((0, 2, 3))
    return sums


def linear_norms(layer: nn.Linear | Softmax, inputs: list[Tensor], errors: Tensor) -> PerParameter:
    """Norms of the gradients of weight and bias of y = W x + b on inputs (N, ..., D)."""
    x, back = (t.reshape(len(t), 1, -1, t.shape[-1]) for t in (inputs[0].to(errors.dtype), errors))
    norms = {layer.weight: _product_norms(x, back)}
    if layer.bias is not None:
        norms[layer.bias] = back.sum((1, 2)).norm(dim=1)
    return norms


def linear_sums(layer: nn.Linear | Softmax, inputs: list[Tensor], errors: Tensor) -> PerParameter:
    """Gradients of weight and bias of y = W x + b."""
    x, back = (t.reshape(-1, t.shape[-1]) for t in (inputs[0].to(errors.dtype), errors))
    sums = {layer.weight: back.mT @ x}
    if layer.bias is not None:
        sums[layer.bias] = back.sum(0)
    return sums


def _cosine_slopes(layer: Head, inputs: list[Tensor], errors: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines (N, classes) of a margin head, and the loss's slopes along them."""
    embeddings, labels = inputs
    cosines = layer.cosines(embeddings).detach()
    with torch.enable_grad():
        leaf = cosines.clone().requires_grad_()
        lowered = layer.with_margin(leaf.gather(1, labels[:, None]).squeeze(1), embeddings)
        logits = layer.scale * leaf.scatter(1, labels[:, None], lowered[:, None])
        return cosines, torch.autograd.grad(logits, leaf, errors)[0]


# The cosine of a unit embedding e to a class centre w grows along (e - cos w / |w|) / |w|, of length sqrt(1 - cos^2) / |w|.


def cosine_head_norms(layer: Head, inputs: list[Tensor], errors: Tensor) -> PerParameter:
    """Norms of the gradients of a margin head's class centres: rows of different classes add up in squares."""
    cosines, slopes = _cosine_slopes(layer, inputs, errors)
    lengths = (1 - cosines.square()).clamp(min=0) / layer.weight.detach().square().sum(1)
    return {layer.weight: (slopes.square() * lengths).sum(1).sqrt()}


def cosine_head_sums(layer: Head, inputs: list[Tensor], errors: Tensor) -> PerParameter:
    """Gradient of a margin head's class centres."""
    cosines, slopes = _cosine_slopes(layer, inputs, errors)
    weight = layer.weight.detach()
    lengths = weight.norm(dim=1, keepdim=True)
    along = slopes.mT @ F.normalize(inputs[0].float())
    return {layer.weight: (along - (slopes * cosines).sum(0)[:, None] * weight / lengths) / lengths}


def prelu_gradients(layer: nn.PReLU, inputs: list[Tensor], errors: Tensor) -> PerParameter:
    """Per-sample gradients (N, slopes) of a PReLU on inputs (N, C, ...)."""
    gradients = inputs[0].clamp(max=0) * errors
    gradients = gradients.reshape(*gradients.shape[:2], -1).sum(2)
    return {layer.weight: gradients if layer.num_parameters > 1 else gradients.sum(1, keepdim=True)}


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
        return self.head(embeddings, labels)


class GhostClipping(GradSampleModuleFastGradientClipping):
    """A :class:`Classifier` that adds up clipped per-sample gradients.

    Layers not named below are handled by Opacus: by its own rules, or by its functional fallback.  Every rule is given a
    layer, its inputs, and the errors: the loss's gradients with respect to the layer's output, one row a photo.

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
    }

    def __init__(self, classifier: Classifier, max_grad_norm: float) -> None:
        _refuse_coupling(classifier)
        self._passed: list[tuple[nn.Module, list[Tensor], Tensor]] = []  # layer, inputs, errors of the current pass
        try:
            super().__init__(classifier, loss_reduction="sum", max_grad_norm=max_grad_norm)
        except NotImplementedError as error:
            raise FaceVeilError(f"no per-sample gradients for this backbone: {error}. {_REMEDY}") from error

    def check(self, images: Tensor, labels: Tensor) -> None:
        """Tries one pass on two photos, (2, 3, H, W) and (2,), before anything is trained.

        Raises:
            FaceVeilError: one photo's logits depend on the other, operations work in place, layers share weights, or a
                parameter takes no part.
        """
        images = images.detach().requires_grad_()
        try:
            logits = self(images, labels)
            influence = torch.autograd.grad(logits[0].sum(), images)[0][1]
        except (RuntimeError, NotImplementedError) as error:
            raise FaceVeilError(f"no per-sample gradients for this backbone: {error} {_REMEDY}") from error
        if influence.abs().max() > 0:
            raise FaceVeilError(f"one photo's embedding depends on the other photos of its batch: no privacy holds. {_REMEDY}")
        idle = [name for name, p in self._module.named_parameters() if p.requires_grad and not hasattr(p, "_norm_sample")]
        if idle:
            raise FaceVeilError(f"parameters without gradient: {', '.join(idle[:5])}. Freeze or remove them.")

    def capture_backprops_hook(self, module: nn.Module, _inputs: Any, errors: Any, **settings: Any) -> None:
        """Opacus' hook, which notes the norms; and keeps what the sums need."""
        if self.hooks_enabled:
            self._passed.append((module, module.activations[-1], errors[0].detach()))
        super().capture_backprops_hook(module, _inputs, errors, **settings)

    def accumulate(self, images: Tensor, labels: Tensor) -> Tensor:
        """Adds the clipped gradient of every photo's cross entropy to ``.grad``; returns the losses (B,), detached.

        One pass backward gives the errors of all layers, from them the norms, and from errors scaled by the clipping factors
        the sum of the clipped gradients, layer by layer (arXiv 2210.00038).
        """
        self._passed.clear()
        images = images.detach().requires_grad_()
        losses = F.cross_entropy(self(images, labels), labels, reduction="none")
        losses.sum().backward(inputs=[images])  # no further than to the errors: gradients of weights would be thrown away
        factors = self.get_clipping_coef()
        while self._passed:
            module, inputs, errors = self._passed.pop()
            scaled = errors * factors.to(errors.dtype).view(-1, *[1] * (errors.dim() - 1))
            for parameter, gradient in self._sums(module, inputs, scaled).items():
                if parameter.requires_grad:
                    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return losses.detach()

    def _sums(self, module: nn.Module, inputs: list[Tensor], errors: Tensor) -> PerParameter:
        """Gradients of a layer's parameters."""
        if type(module) in self.SUMS:
            return self.SUMS[type(module)](module, inputs, errors)
        rule = self.GRAD_SAMPLERS.get(type(module), ft_compute_per_sample_gradient)
        return {parameter: gradients.sum(0) for parameter, gradients in rule(module, inputs, errors).items()}

    @property
    def classifier(self) -> Classifier:
        """The module as it was given."""
        return self._module

    def unwrap(self) -> None:
        """Takes every trace of Opacus off the parameters and modules, their gradients too."""
        self._passed.clear()
        self.to_standard_module()
        for parameter in self.trainable_parameters:
            parameter.grad = None
            parameter.__dict__.pop("summed_grad", None)
        for module in self._module.modules():
            module.__dict__.pop("activations", None)
            module.__dict__.pop("max_batch_len", None)


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
