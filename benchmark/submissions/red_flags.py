"""Red flags: what makes a submission's numbers meaningless although its files are in order.

The live backbone is run on a few photos.  A backbone that answers at random, gives no gradient or was never trained would
otherwise look well defended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.models.inputs import to_input
from benchmark.models.normalisation import norm_kinds
from benchmark.runtime.memory import out_of_memory
from benchmark.submissions.problems import Problem, listed, shown
from benchmark.submissions.report import Flag

if TYPE_CHECKING:
    from benchmark.submissions.submission import Submission

PROBES = 8
GRADIENTS = 4  # photos whose gradient is taken
SAME = 1e-4  # embeddings closer than this share of their typical length are equal
COUPLED = 1e-3  # of an embedding's length, far above what rounding does
MOST_DEAD = 0.5  # share of dimensions that may be constant

REMEDIES = {
    "forward_failed": "Correct `backbone` or `input` in card.json so that the backbone takes photos of that size.",
    "wrong_embedding_size": "Set `embedding_size` in card.json to what the backbone returns.",
    "not_finite": "Train again: the weights or the running statistics overflow.",
    "coupled_photos": "Export or build the backbone so that each photo is computed by itself.",
    "random_output": "Declare a random transform as `inference` in card.json instead of building it into the backbone.",
    "constant_output": "Train again: the backbone ignores its input.",
    "zero_gradient": "Remove rounding or thresholding from the backbone; declare it as `inference` in card.json.",
    "bn_never_updated": "Train with BatchNorm in training mode, and save its running statistics.",
    "norm_mismatch": "Set `norm` in card.json to the normalisation that the backbone has.",
}


def problems_of(flags: Sequence[Flag]) -> list[Problem]:
    """The red flags that make an evaluation pointless, those of severity ``error``, as problems with their remedies."""
    return [
        Problem(part="behaviour", code=flag.name, message=flag.reason, remedy=REMEDIES[flag.name])
        for flag in flags
        if flag.severity == "error"
    ]


def red_flags(
    submission: Submission,
    probes: Tensor | None = None,
    device: torch.device | str = "cpu",
    backbone: nn.Module | None = None,
) -> tuple[Flag, ...]:
    """What a reader should know before trusting numbers of this submission; empty where nothing was found.

    Args:
        probes: different photos (B, 3, H, W) uint8, at least two; without them seeded noise is used.
        backbone: the submission's, where it was built before.
    """
    backbone = (submission.backbone() if backbone is None else backbone).to(device).requires_grad_(False)
    images = _noise(submission) if probes is None else probes
    inputs = to_input(images.to(device), submission.card.input)
    return (
        *_norm_flags(backbone, submission.card.norm),
        *_statistics_flags(backbone),
        *_output_flags(backbone, inputs, submission.card.embedding_size),
    )


def _noise(submission: Submission) -> Tensor:
    """Blurred colour noise: photos of the card's size with structure at every scale."""
    height, width = submission.card.input.size
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(PROBES, 3, height, width)
    for cells in (2, 4, 8, 16):
        coarse = torch.rand(PROBES, 3, cells, cells, generator=generator)
        image += nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return (image / 4 * 255).to(torch.uint8)


def _norm_flags(backbone: nn.Module, declared: str) -> list[Flag]:
    found = norm_kinds(backbone)
    fits = declared in found if found else declared == "none"
    if fits and (declared == "batch" or "batch" not in found):
        return []
    reason = f"The card declares norm {declared!r}; the backbone has {' and '.join(sorted(found)) or 'none'}."
    return [Flag(name="norm_mismatch", severity="error", reason=reason)]


def _statistics_flags(backbone: nn.Module) -> list[Flag]:
    """BatchNorm layers whose statistics are those of initialisation, or which count no batch."""
    layers = {n: m for n, m in backbone.named_modules() if isinstance(m, _BatchNorm) and m.running_mean is not None}
    initial, uncounted = [], []
    for name, layer in layers.items():
        mean, variance = layer.running_mean, layer.running_var
        assert mean is not None
        assert variance is not None
        if bool((mean == 0).all()) and bool((variance == 1).all()):
            initial.append(name)
        elif layer.num_batches_tracked is not None and int(layer.num_batches_tracked) == 0:
            uncounted.append(name)
    flags = []
    if initial:
        reason = f"{len(initial)} of {len(layers)} BatchNorm layers hold the statistics of initialisation: {listed(initial)}."
        severity = "error" if len(initial) == len(layers) else "warning"
        flags.append(Flag(name="bn_never_updated", severity=severity, reason=reason))
    if uncounted:
        reason = f"{len(uncounted)} of {len(layers)} BatchNorm layers have statistics but no batch count: {listed(uncounted)}."
        flags.append(Flag(name="bn_not_counted", severity="info", reason=reason))
    return flags


def _output_flags(backbone: nn.Module, inputs: Tensor, size: int) -> list[Flag]:
    try:
        with torch.inference_mode():
            first, second, alone = backbone(inputs), backbone(inputs), backbone(inputs[:1])
    except Exception as error:  # an architecture with untrusted arguments fails in its own ways
        if out_of_memory(error):
            raise MemoryError from error  # torch says so by a RuntimeError
        reason = f"The backbone fails on {tuple(inputs.shape)}: {type(error).__name__}: {shown(str(error), 200)}."
        return [Flag(name="forward_failed", severity="error", reason=reason)]
    if not isinstance(first, Tensor) or first.shape != (len(inputs), size):
        given = list(first.shape) if isinstance(first, Tensor) else type(first).__name__
        reason = f"The card declares {size}-dimensional embeddings; {len(inputs)} photos gave {given}."
        return [Flag(name="wrong_embedding_size", severity="error", reason=reason)]
    if not bool(torch.isfinite(first).all()):
        bad = int((~torch.isfinite(first)).any(1).sum())
        return [Flag(name="not_finite", severity="error", reason=f"{bad} of {len(first)} embeddings hold NaN or infinity.")]
    coupled = float((first[:1] - alone).norm()) > COUPLED * float(alone.norm()) and torch.equal(first, second)
    if coupled:
        reason = "A photo's embedding depends on the other photos of its batch."
        return [Flag(name="coupled_photos", severity="error", reason=reason)]
    return [*_value_flags(first, second), *_gradient_flags(backbone, inputs[:GRADIENTS])]


def _value_flags(first: Tensor, second: Tensor) -> list[Flag]:
    length = float(first.norm(dim=1).mean())
    difference = float((first - second).norm(dim=1).max())
    flags = []
    if difference > SAME * length:
        reason = f"The same photos gave embeddings that differ by {difference / max(length, 1e-12):.1%} of their length."
        flags.append(Flag(name="random_output", severity="error", reason=reason))
    spread = float((first - first.mean(0)).norm(dim=1).max())
    if spread <= SAME * length:
        reason = f"{len(first)} different photos gave the same embedding."
        return [*flags, Flag(name="constant_output", severity="error", reason=reason)]
    # a plain difference, because cdist loses small distances to rounding
    distances = (first[:, None] - first[None]).norm(dim=2) + torch.eye(len(first), device=first.device) * (1 + length)
    twins = int((distances.min(1).values <= SAME * length).sum())
    if twins:
        reason = f"{twins} of {len(first)} different photos share their embedding with another."
        flags.append(Flag(name="duplicate_embeddings", severity="warning", reason=reason))
    dead = float((first.amax(0) == first.amin(0)).float().mean())
    if dead > MOST_DEAD:
        reason = f"{dead:.0%} of the {first.shape[1]} dimensions are constant over {len(first)} photos."
        flags.append(Flag(name="dead_dimensions", severity="warning", reason=reason))
    return flags


def _gradient_flags(backbone: nn.Module, inputs: Tensor) -> list[Flag]:
    """Photos whose embedding has no gradient: attacks that optimise would fail for the wrong reason."""
    # one at a time: a backward pass keeps what every layer made
    none = sum(not _has_gradient(backbone, photo) for photo in inputs.split(1))
    if not none:
        return []
    reason = f"The embeddings of {none} of {len(inputs)} photos have no gradient with respect to the photo."
    return [Flag(name="zero_gradient", severity="error" if none == len(inputs) else "warning", reason=reason)]


def _has_gradient(backbone: nn.Module, photo: Tensor) -> bool:
    image = photo.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        embedding = backbone(image)
        # not the length: a backbone that normalises has none to differentiate
        direction = torch.randn(embedding.shape[1], generator=torch.Generator().manual_seed(0))
        total = (embedding @ direction.to(embedding)).sum()
        if not total.requires_grad:
            return False
        return bool((torch.autograd.grad(total, image)[0] != 0).any())
