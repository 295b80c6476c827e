"""Per-sample clipped gradients of a face-recognition network, without ever holding one gradient per sample.

Opacus' ghost clipping (arXiv 2009.03106) with the norms of the layers that our backbones and heads are made of.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from torch import Tensor, nn

from benchmark.heads import ArcFace, CosFace, Head, Softmax
from benchmark.interfaces import FaceVeilError

_REMEDY = "Choose a backbone without BatchNorm, shared weights and operations in place, such as iresnet_slim with norm='group'."

Norms = dict[nn.Parameter, Tensor]

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


def _patches(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """What every output position of ``layer`` sees: (N, G, T, kernel x channels of the group)."""
    padding = layer._reversed_padding_repeated_twice
    if any(padding):
        x = F.pad(x, padding, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)
    x = x.permute(0, 2, 3, 1).contiguous()
    (kh, kw), (sh, sw), (dh, dw) = layer.kernel_size, layer.stride, layer.dilation
    count, height, width, channels = x.shape
    rows, columns = (height - dh * (kh - 1) - 1) // sh + 1, (width - dw * (kw - 1) - 1) // sw + 1
    n, y, z, c = x.stride()
    view = x.as_strided((count, rows, columns, kh, kw, channels), (n, sh * y, sw * z, dh * y, dw * z, c))
    if layer.groups == 1:
        return view.reshape(count, 1, rows * columns, -1)
    grouped = view.reshape(count, rows * columns, kh * kw, layer.groups, channels // layer.groups)
    return grouped.permute(0, 3, 1, 2, 4).reshape(count, layer.groups, rows * columns, -1)


def conv_norms(layer: nn.Conv2d, activations: list[Tensor], backprops: Tensor) -> Norms:
    """Norms of the gradients of a convolution's weight and bias."""
    x = activations[0]
    by_position = backprops.flatten(2).unflatten(1, (layer.groups, -1)).mT
    per_sample = layer.weight[0].numel() * layer.groups * by_position.shape[2]
    size = max(1, (_CHUNK_CPU if x.device.type == "cpu" else _CHUNK_GPU) // per_sample)
    parts = zip(x.split(size), by_position.split(size), strict=True)
    norms = {layer.weight: torch.cat([_product_norms(_patches(layer, part), back) for part, back in parts])}
    if layer.bias is not None:
        norms[layer.bias] = backprops.sum((2, 3)).norm(dim=1)
    return norms


def linear_norms(layer: nn.Linear | Softmax, activations: list[Tensor], backprops: Tensor) -> Norms:
    """Norms of the gradients of weight and bias of y = W x + b on inputs (N, ..., D)."""
    inputs, back = (t.reshape(len(t), 1, -1, t.shape[-1]) for t in (activations[0], backprops))
    norms = {layer.weight: _product_norms(inputs, back)}
    if layer.bias is not None:
        norms[layer.bias] = back.sum((1, 2)).norm(dim=1)
    return norms


def cosine_head_norms(layer: Head, activations: list[Tensor], backprops: Tensor) -> Norms:
    """Norms of the gradients of the class centres of a margin head.

    The cosine of an embedding to centre w grows along (e - cos w / |w|) / |w|, e being the unit embedding; these directions
    have length sqrt(1 - cos^2) / |w| and lie in different rows of the weight for different classes.
    """
    embeddings, labels = activations
    cosines = layer.cosines(embeddings).detach()
    with torch.enable_grad():
        leaf = cosines.clone().requires_grad_()
        lowered = layer.with_margin(leaf.gather(1, labels[:, None]).squeeze(1), embeddings)
        logits = layer.scale * leaf.scatter(1, labels[:, None], lowered[:, None])
        slopes = torch.autograd.grad(logits, leaf, backprops)[0]
    lengths = (1 - cosines.square()).clamp(min=0) / layer.weight.detach().square().sum(1)
    return {layer.weight: (slopes.square() * lengths).sum(1).sqrt()}


def prelu_gradients(layer: nn.PReLU, activations: list[Tensor], backprops: Tensor) -> Norms:
    """Per-sample gradients (N, slopes) of a PReLU on inputs (N, C, ...)."""
    gradients = activations[0].clamp(max=0) * backprops
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
    """A :class:`Classifier` whose backward pass adds up clipped per-sample gradients.

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
    GRAD_SAMPLERS: dict[type[nn.Module], Any] = {
        **GradSampleModuleFastGradientClipping.GRAD_SAMPLERS,
        nn.PReLU: prelu_gradients,
    }

    def __init__(self, classifier: Classifier, max_grad_norm: float) -> None:
        _refuse_coupling(classifier)
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

    def accumulate(self, images: Tensor, labels: Tensor) -> Tensor:
        """Adds the clipped gradient of every photo's cross entropy to ``.grad``; returns the losses (B,), detached.

        One pass backward to the images gives the layers' errors, and from them the norms; a second one, of the losses scaled
        down by their clipping factors, gives the sum of the clipped gradients.
        """
        images = images.detach().requires_grad_()
        losses = F.cross_entropy(self(images, labels), labels, reduction="none")
        losses.sum().backward(inputs=[images], retain_graph=True)
        factors = self.get_clipping_coef()
        self.disable_hooks()
        try:
            (factors * losses).sum().backward(inputs=self.trainable_parameters)
        finally:
            self.enable_hooks()
        return losses.detach()

    @property
    def classifier(self) -> Classifier:
        """The module as it was given."""
        return self._module

    def unwrap(self) -> None:
        """Takes every trace of Opacus off the parameters and modules, their gradients too."""
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
