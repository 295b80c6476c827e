"""Per-unit gradients of single layers: their norms, and the gradients of scaled losses, without holding one a unit.

A unit is what one clip covers: a photo, a photo with its augmented views, or a person with all their photos; it is ``rows``
consecutive rows of the batch.  A rule is given a layer, the list of its inputs, and the errors: the loss's gradients with
respect to the layer's output, one row a photo.  ``..._norms`` returns one norm a unit (N,), ``..._sums`` the sum over rows
(the parameter's shape), and ``..._gradients`` one gradient a row.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from benchmark.models.heads import Head, Softmax
from benchmark.models.normalisation import ChannelAffine

PerParameter = dict[Tensor, Tensor]  # by parameter

# Numbers of unfolded maps held at once: about a processor's cache, or a modest part of a GPU's memory.
_CHUNK_CPU, _CHUNK_GPU = 1 << 19, 1 << 26


def _product_norms(a: Tensor, b: Tensor) -> Tensor:
    """Norms (N,) of the products sum_t a_t b_t^T of every unit, of all its groups G together.

    ``a`` (N, G, T, P), ``b`` (N, G, T, D).  By Gram matrices over t where they are smaller than the products.
    """
    positions, rows, columns = a.shape[2], a.shape[3], b.shape[3]
    if positions * (rows + columns) < rows * columns:
        return ((a @ a.mT) * (b @ b.mT)).sum((1, 2, 3)).clamp(min=0).sqrt()
    out: Tensor = torch.linalg.vector_norm(b.mT @ a, dim=(1, 2, 3))
    return out


def _joined(x: Tensor, rows: int) -> Tensor:
    """(N rows, G, T, P) as (N, G, rows T, P): a unit's gradient adds up over its rows as over positions."""
    return x if rows == 1 else x.unflatten(0, (-1, rows)).transpose(1, 2).flatten(2, 3)


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


def conv_norms(layer: nn.Conv2d, inputs: list[Tensor], errors: Tensor, rows: int = 1) -> PerParameter:
    """Norms of the gradients of a convolution's weight and bias."""
    x = inputs[0]
    by_position = errors.flatten(2).unflatten(1, (layer.groups, -1)).mT
    per_unit = rows * layer.weight[0].numel() * layer.groups * by_position.shape[2]
    size = rows * max(1, (_CHUNK_CPU if x.device.type == "cpu" else _CHUNK_GPU) // per_unit)
    parts = zip(x.split(size), by_position.split(size), strict=True)
    weight = [_product_norms(_joined(_patches(layer, part), rows), _joined(back, rows)) for part, back in parts]
    norms = {layer.weight: torch.cat(weight)}
    if layer.bias is not None:
        norms[layer.bias] = errors.sum((2, 3)).unflatten(0, (-1, rows)).sum(1).norm(dim=1)
    return norms


def conv_gradients(layer: nn.Conv2d, inputs: list[Tensor], errors: Tensor, out: Tensor | None = None) -> PerParameter:
    """Gradients (N, ...) of a convolution's weight and bias.  (Opacus' own rule takes the memory order for granted.)

    ``out``: (N, numbers in the weight) contiguous, where the weight's are put; default new memory.
    """
    x = inputs[0]
    by_position = errors.flatten(2).unflatten(1, (layer.groups, -1))
    per_row = layer.weight[0].numel() * layer.groups * by_position.shape[3]
    size = max(1, (_CHUNK_CPU if x.device.type == "cpu" else _CHUNK_GPU) // per_row)
    shape = (len(x), layer.groups, by_position.shape[2], layer.weight[0].numel())
    products = errors.new_empty(shape) if out is None else out.view(shape)
    for to, part, back in zip(products.split(size), x.split(size), by_position.split(size), strict=True):
        patches = _patches(layer, part)
        torch.bmm(back.flatten(0, 1), patches.flatten(0, 1).to(back.dtype), out=to.flatten(0, 1))
    weight = products.flatten(1, 2)
    gradients = {layer.weight: weight.unflatten(2, (*layer.kernel_size, -1)).movedim(-1, 2)}
    if layer.bias is not None:
        gradients[layer.bias] = errors.sum((2, 3))
    return gradients


def conv_sums(layer: nn.Conv2d, inputs: list[Tensor], errors: Tensor) -> PerParameter:
    """Gradients of a convolution's weight and bias."""
    x = inputs[0]
    padding: str | int | tuple[int, ...] = layer.padding
    if layer.padding_mode != "zeros" or isinstance(padding, str):
        x, padding = _padded(layer, x), 0
    weight = conv2d_weight(x, layer.weight.shape, errors, layer.stride, padding, layer.dilation, layer.groups)
    sums = {layer.weight: weight}
    if layer.bias is not None:
        sums[layer.bias] = errors.sum((0, 2, 3))
    return sums


def linear_norms(layer: nn.Linear | Softmax, inputs: list[Tensor], errors: Tensor, rows: int = 1) -> PerParameter:
    """Norms of the gradients of weight and bias of y = W x + b on inputs (N rows, ..., D)."""
    x, back = (t.reshape(len(t) // rows, 1, -1, t.shape[-1]) for t in (inputs[0].to(errors.dtype), errors))
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


def cosine_head_norms(layer: Head, inputs: list[Tensor], errors: Tensor, rows: int = 1) -> PerParameter:
    """Norms of the gradients of a margin head's class centres: different classes add up in squares.

    Within a class the rows r of a unit add up as vectors: the product of two is e_r . e_s - cos_r cos_s, times both slopes.
    """
    cosines, slopes = (t.unflatten(0, (-1, rows)) for t in _cosine_slopes(layer, inputs, errors))
    unit = F.normalize(inputs[0].to(slopes.dtype)).unflatten(0, (-1, rows))
    squares = (slopes * ((unit @ unit.mT) @ slopes)).sum(1) - (slopes * cosines).sum(1).square()
    return {layer.weight: (squares.clamp(min=0) / layer.weight.detach().square().sum(1)).sum(1).sqrt()}


def cosine_head_sums(layer: Head, inputs: list[Tensor], errors: Tensor) -> PerParameter:
    """Gradient of a margin head's class centres."""
    cosines, slopes = _cosine_slopes(layer, inputs, errors)
    weight = layer.weight.detach()
    lengths = weight.norm(dim=1, keepdim=True)
    along = slopes.mT @ F.normalize(inputs[0].float())
    return {layer.weight: (along - (slopes * cosines).sum(0)[:, None] * weight / lengths) / lengths}


def cosine_head_gradients(layer: Head, inputs: list[Tensor], errors: Tensor) -> PerParameter:
    """Gradients (N, classes, D) of a margin head's class centres."""
    cosines, slopes = _cosine_slopes(layer, inputs, errors)
    lengths = layer.weight.detach().norm(dim=1, keepdim=True)
    away = F.normalize(inputs[0].to(slopes.dtype))[:, None] - cosines[..., None] * (layer.weight.detach() / lengths)
    return {layer.weight: slopes[..., None] * away / lengths}


def affine_gradients(layer: ChannelAffine, inputs: list[Tensor], errors: Tensor) -> PerParameter:
    """Gradients (N, C) of a scale and a shift a channel, on inputs (N, C, ...); by autograd where an activation follows."""
    if not isinstance(layer.act, nn.Identity):
        from opacus.grad_sample.functorch import ft_compute_per_sample_gradient  # slow to import, seldom needed

        result: PerParameter = ft_compute_per_sample_gradient(layer, inputs, errors)
        return result
    flat = errors.reshape(*errors.shape[:2], -1)
    return {layer.weight: (inputs[0].reshape(flat.shape) * flat).sum(2), layer.bias: flat.sum(2)}


def prelu_gradients(layer: nn.PReLU, inputs: list[Tensor], errors: Tensor) -> PerParameter:
    """Gradients (N, slopes) of a PReLU on inputs (N, C, ...)."""
    gradients = inputs[0].clamp(max=0) * errors
    gradients = gradients.reshape(*gradients.shape[:2], -1).sum(2)
    return {layer.weight: gradients if layer.num_parameters > 1 else gradients.sum(1, keepdim=True)}
