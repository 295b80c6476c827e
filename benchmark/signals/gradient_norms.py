"""Norms of the gradient of a photo's agreement with a view of itself, one photo at a time without one pass each.

The objective is 1 - cos(f(x), f(view(x))), the loss that is left to an attacker without labels.  In evaluation mode photos do
not touch each other, so that one pass backward holds every photo's own gradient; norms over the weights are read off the
layers' inputs and errors (ghost norms, arXiv 2009.03106), with both passages of a photo through a layer taken together.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import field_validator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.interfaces import Access, SignalRequest
from benchmark.models.inputs import to_input
from benchmark.models.layer_gradients import conv_norms, linear_norms, prelu_gradients
from benchmark.signals.kind import Look, SignalKind
from benchmark.signals.target import Target
from benchmark.signals.views import apply_view

PIXELS_AT_ONCE = 32 * 64 * 64  # bounds the graph that is kept for the pass backward


class AgreementGradient(SignalRequest):
    """Norm (N, 1) of the gradient of 1 - cos(f(x), f(view(x))) with respect to the photo (``input``) or to all ``weights``."""

    backward: ClassVar[bool] = True

    of: Literal["input", "weights"]
    view: str

    @field_validator("view")
    @classmethod
    def _another_view(cls, view: str) -> str:
        if view == "identity":
            raise ValueError("a photo always agrees with itself: name another view than 'identity', such as 'flip'.")
        return view

    @property
    def access(self) -> Access:
        """Gradients need the weights."""
        return Access.WEIGHTS

    @property
    def key(self) -> str:
        """See :class:`SignalRequest`."""
        return f"gradient.{self.of}.{self.view}"


class GradientKind(SignalKind[AgreementGradient]):
    """Both norms of a view come of one pass backward."""

    serves = (AgreementGradient,)
    reads_pass = False
    needs_floats = True

    def passes(self, request: AgreementGradient) -> dict[Hashable, int]:
        """The photo and its view."""
        return {("gradient", request.view): 2}

    def measure(self, look: Look, requests: Sequence[AgreementGradient]) -> dict[str, Tensor]:
        """See :class:`SignalKind`."""
        norms = gradient_norms(look.target, look.batch.floats, look.view, {request.of for request in requests})
        return {request.key: norms[request.of] for request in requests}


def gradient_norms(target: Target, images: Tensor, view: str, wanted: Collection[str]) -> dict[str, Tensor]:
    """Norms of the gradient with respect to the photo (``input``) and to the weights (``weights``), (B, 1) each.

    ``weights`` covers convolutions, linear and normalisation layers and PReLU; a parameter of any other layer, such as a
    transformer's position embedding, takes no part.  The results carry no gradient themselves.

    Args:
        images: (B, 3, H, W), floats in [0, 1].
        wanted: of ``input`` and ``weights``.
    """
    step = max(2, PIXELS_AT_ONCE // (images.shape[-1] * images.shape[-2]))
    parts = [_norms(target, part, view, "weights" in wanted) for part in images.detach().split(step)]
    return {name: torch.cat([part[name] for part in parts])[:, None] for name in wanted}


def _norms(target: Target, images: Tensor, view: str, of_weights: bool) -> dict[str, Tensor]:
    squares = torch.zeros(len(images), device=images.device, dtype=images.dtype)
    with torch.enable_grad():
        pixels = images.clone().requires_grad_(True)
        inputs = to_input(torch.cat([pixels, apply_view(view, pixels)]), target.input)
        with _adding_squares(target.backbone, squares, of_weights):
            embeddings = target.backbone(inputs.contiguous(memory_format=torch.channels_last))
            loss = (1 - F.cosine_similarity(*embeddings.chunk(2))).sum()
            (gradient,) = torch.autograd.grad(loss, pixels)
    return {"input": gradient.flatten(1).norm(dim=1), "weights": squares.sqrt()}


@contextmanager
def _adding_squares(backbone: nn.Module, squares: Tensor, active: bool) -> Iterator[None]:
    """While open, adds every layer's squared gradient norms to ``squares`` (B,) as the errors come by."""
    handles = []

    def hook(layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        inputs = args[0].detach()

        def add(errors: Tensor) -> None:
            squares.add_(_squares(layer, inputs, errors.detach()))

        out.register_hook(add)

    if active:
        handles = [m.register_forward_hook(hook) for m in backbone.modules() if isinstance(m, _LAYERS)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


_NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)
_LAYERS = (nn.Conv2d, nn.Linear, nn.PReLU, *_NORMS)


def _squares(layer: nn.Module, inputs: Tensor, errors: Tensor) -> Tensor:
    """Squared norms (B,) of a layer's weight gradients, from inputs and errors of (2B, ...): photo n and its view B + n."""
    norms: Mapping[Tensor, Tensor] | Mapping[int, Tensor]
    if isinstance(layer, nn.Conv2d):
        norms = conv_norms(layer, [_interleaved(inputs)], _interleaved(errors), rows=2)
    elif isinstance(layer, nn.Linear):
        norms = linear_norms(layer, [_together(inputs)], _together(errors))
    elif isinstance(layer, nn.PReLU):
        norms = {p: _added(g) for p, g in prelu_gradients(layer, [inputs], errors).items()}
    else:
        assert isinstance(layer, _NORMS)
        norms = {i: _added(g) for i, g in enumerate(_affine_gradients(layer, inputs, errors))}
    return torch.stack([n.square() for n in norms.values()]).sum(0) if norms else errors.new_zeros(len(errors) // 2)


def _interleaved(rows: Tensor) -> Tensor:
    """Photo n and its view one after the other, as the rows of a unit."""
    out: Tensor = rows.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1)
    return out


def _together(rows: Tensor) -> Tensor:
    """(2B, ..., D) as (B, 2T, D): what a photo and its view pass through a layer counts as positions of one photo."""
    first, second = rows.reshape(len(rows), -1, rows.shape[-1]).chunk(2)
    return torch.cat([first, second], dim=1)


def _added(gradients: Tensor) -> Tensor:
    """Norms (B,) of the gradients of photo and view, (2B, ...), added up."""
    first, second = gradients.flatten(1).chunk(2)
    out: Tensor = (first + second).norm(dim=1)
    return out


def _affine_gradients(layer: _BatchNorm | nn.GroupNorm | nn.LayerNorm, inputs: Tensor, errors: Tensor) -> list[Tensor]:
    """Gradients (2B, C) of scale and shift of a normalisation layer in evaluation mode."""
    if layer.weight is None:
        return []
    if isinstance(layer, nn.LayerNorm):
        axes, normal = tuple(range(1, inputs.dim() - len(layer.normalized_shape))), F.layer_norm
        unit = normal(inputs, layer.normalized_shape, eps=layer.eps)
    else:
        axes = tuple(range(2, inputs.dim()))
        if isinstance(layer, nn.GroupNorm):
            unit = F.group_norm(inputs, layer.num_groups, eps=layer.eps)
        else:
            unit = F.batch_norm(inputs, layer.running_mean, layer.running_var, eps=layer.eps)
    products = errors * unit
    return [(products.sum(axes) if axes else products), (errors.sum(axes) if axes else errors)]
