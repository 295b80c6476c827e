"""The closed set of transforms of a photo in front of the backbone that a card may name, as the backbone's argument ``front``.

They are part of the network: trained with it, in its weights, and met by whoever queries it.  ``front`` is a plain name, or a
list of a name and numbers, so that a service can build it from a card that nobody vouches for:

- ``"partial_spectrum"``: a random ninth of the high frequencies of each photo (PartialFace);
- ``["noisy_spectrum", budget]``: all frequencies but the mean, with learned Laplace noise (DCTDP).

What is random is drawn from torch's generator in training and from the photo itself in evaluation: the same photo gets the
same answer, and asking again averages nothing out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.interfaces import FaceVeilError

BLOCK = 8  # pixels a side of the cosine transform, and how much a photo is enlarged before it
CORRELATION = 0.95  # between neighbouring pixels: the usual model of natural images, to bring frequencies to one size
# The lowest frequencies of an 8 x 8 block (row by row), which show the face to a human eye: PartialFace leaves them out.
VISIBLE = (0, 1, 2, 3, 8, 9, 10, 16, 17, 24)
SUBSETS = 6  # of nine frequencies each, of which a photo shows one
LARGEST = 160  # pixels a side that a card may ask for: every pixel becomes 192 numbers


class Spectrum(nn.Module):
    """Normalised photos (B, 3, H, W) as cosine coefficients (B, 3, 64, H, W) of blocks of the photo enlarged eightfold.

    Colours become luminance and two differences.  Enlarging and the transform are linear along each axis, so that both are one
    matrix a side; each frequency is divided by its deviation on images whose neighbouring pixels correlate by 0.95.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("colours", _LUMA_CHROMA.clone(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        colours = torch.einsum("dc,bchw->bdhw", self.colours, images)
        down, across = (_axis(size, images) for size in images.shape[-2:])
        found = torch.einsum("iuh,bchw,jvw->bcuvij", down, colours, across)
        return found.flatten(2, 3)


_LUMA_CHROMA = torch.tensor([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])


def _axis(size: int, like: Tensor) -> Tensor:
    """(size, 8, size): block coefficients of one enlarged axis of this many pixels, scaled to deviation 1."""
    pixels = torch.eye(size, device=like.device, dtype=torch.float32)[None]
    enlarged = F.interpolate(pixels, scale_factor=BLOCK, mode="linear", align_corners=False)[0].T  # (8 size, size)
    position = torch.arange(BLOCK, device=like.device, dtype=torch.float32)
    waves = torch.cos(torch.pi * position[:, None] * (2 * position + 1) / (2 * BLOCK)) * (2 / BLOCK) ** 0.5
    waves[0] /= 2**0.5
    matrix = torch.einsum("ux,ixh->iuh", waves, enlarged.unflatten(0, (size, BLOCK)))
    place = torch.arange(size, device=like.device, dtype=torch.float32)
    correlation = CORRELATION ** (place[:, None] - place).abs()
    variance = torch.einsum("iuh,hg,iug->u", matrix, correlation, matrix) / size
    # an enlarged axis is linear between pixels and has nothing at some frequencies: those stay 0, not rounding enlarged
    gain = torch.where(variance > 1e-6 * variance.max(), variance.rsqrt(), 0)
    return (matrix * gain[None, :, None]).to(like.dtype)


class PartialSpectrum(nn.Module):
    """Nine of the 54 less visible frequencies of each colour component, of one of six fixed subsets a photo: (B, 27, H, W).

    arXiv 2308.10461; the ten most visible frequencies never reach the network.
    """

    channels = 27
    subsets: Tensor  # (SUBSETS, 9)

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = Spectrum()
        kept = torch.tensor([k for k in range(BLOCK * BLOCK) if k not in VISIBLE])
        # every sixth, so that each subset has frequencies from all over the block
        self.register_buffer("subsets", torch.stack([kept[i::SUBSETS] for i in range(SUBSETS)]), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        drawn = torch.randint(SUBSETS, (len(images),), device=images.device) if self.training else keys(images)
        which = drawn % SUBSETS
        coefficients = self.spectrum(images)
        rows = self.subsets[which][:, None, :].expand(-1, 3, -1)  # (B, 3, 9)
        index = rows[..., None, None].expand(*rows.shape, *coefficients.shape[-2:])
        out: Tensor = coefficients.gather(2, index).flatten(1, 2)
        return out


class NoisySpectrum(nn.Module):
    """All frequencies but the mean of every block, with Laplace noise whose budgets are learned: (B, 189, H, W).

    Noise of channel c has scale r_c / (n budget softmax(theta)_c): r_c is the range of the channel as training met it, and the
    budgets' mean stays ``budget`` (arXiv 2207.07316).  That is local privacy of a coefficient of the photo that is *asked
    about*; of the photos trained on it promises nothing.
    """

    channels = 3 * (BLOCK * BLOCK - 1)
    width: Tensor  # (channels,)

    def __init__(self, budget: float) -> None:
        super().__init__()
        if not 0.01 <= budget <= 1000:
            raise FaceVeilError(f"front=noisy_spectrum takes a mean budget from 0.01 to 1000, not {budget:g}.")
        self.budget = budget
        self.spectrum = Spectrum()
        self.theta = nn.Parameter(torch.zeros(self.channels))
        self.register_buffer("width", torch.ones(self.channels))

    def forward(self, images: Tensor) -> Tensor:
        coefficients = self.spectrum(images)[:, :, 1:].flatten(1, 2)
        if self.training:
            with torch.no_grad():
                self.width.lerp_(coefficients.amax((0, 2, 3)) - coefficients.amin((0, 2, 3)), 0.1)
            uniform = torch.rand_like(coefficients)
        else:
            uniform = _draws(images, coefficients)
        centred = (uniform - 0.5).clamp(-0.4999999, 0.4999999)
        laplace = -centred.sign() * torch.log1p(-2 * centred.abs())
        scale = self.width / (self.channels * self.budget * self.theta.softmax(0))
        out: Tensor = coefficients + scale[:, None, None] * laplace
        return out


def keys(images: Tensor) -> Tensor:
    """(B,) numbers below 2^31 that follow from each photo's pixels to 8 bits alone."""
    levels = ((images.detach() + 1) * 127.5).round().long().flatten(1)
    place = torch.arange(levels.shape[1], device=levels.device)
    return ((levels + 1) * ((place * 40_503 + 12_289) % 65_521)).sum(1) * 2_654_435 % (1 << 31)


def _draws(images: Tensor, like: Tensor) -> Tensor:
    """Uniform numbers shaped as ``like`` (B, ...), each photo's from its own key."""
    if like.is_meta:
        return torch.rand_like(like)
    rows = [torch.rand(like.shape[1:], generator=torch.Generator().manual_seed(int(k))) for k in keys(images)]
    return torch.stack(rows).to(like)


class Fronted(nn.Module):
    """A backbone behind a transform of the photo."""

    def __init__(self, front: nn.Module, body: nn.Module) -> None:
        super().__init__()
        self.front, self.body = front, body
        if hasattr(body, "input_size"):
            self.input_size = body.input_size

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.body(self.front(images))
        return out


def parse(front: Any) -> PartialSpectrum | NoisySpectrum:
    """The transform that the argument ``front`` names.

    Raises:
        FaceVeilError: an unknown name, or numbers that it does not take.
    """
    words: list[Any] = [front] if isinstance(front, str) else list(front) if isinstance(front, Sequence) and front else [None]
    name, *numbers = words
    plain = all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    if name == "partial_spectrum" and not numbers:
        return PartialSpectrum()
    if name == "noisy_spectrum" and len(numbers) == 1 and plain:
        return NoisySpectrum(float(numbers[0]))
    raise FaceVeilError(
        f"front={front!r}: a transform in front of the backbone is 'partial_spectrum' or ['noisy_spectrum', BUDGET]."
    )


def fronted(body: nn.Module, front: Any) -> Fronted:
    """``body`` behind the transform ``front``; its first convolution is made anew for the transform's channels.

    Raises:
        FaceVeilError: no such transform, or a network that does not start with a convolution of three channels.
    """
    transform = parse(front)
    for name, layer in body.named_modules():
        if isinstance(layer, nn.Conv2d):
            if layer.in_channels != 3 or layer.groups != 1:
                break
            shape: tuple[Any, Any, Any, Any] = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
            wider = nn.Conv2d(
                transform.channels, layer.out_channels, *shape,
                bias=layer.bias is not None, padding_mode=layer.padding_mode, device=layer.weight.device,
            )  # fmt: skip
            body.set_submodule(name, wider)
            return Fronted(transform, body)
    raise FaceVeilError(f"front={front!r} needs a backbone that starts with a convolution of three colours.")
