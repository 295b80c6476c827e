"""ONE forward pass -> every signal that any attack requested, reduced inside the hook.

Feature maps are never stored: a hook on each normalisation layer keeps two numbers a channel for the photos of the
current batch, and those are reduced to one or two numbers a layer at once.  Results stream to files (``signal_files``), so
that memory does not grow with the number of photos, and are cached by content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.interfaces import NotApplicableError, Photos, SignalRequest, Signals, Statistics, content_hash
from benchmark.preprocessing import to_input
from benchmark.signal_files import SignalFiles
from benchmark.target import Target

SIGNALS_VERSION = 1  # part of the cache key: raise it when a signal changes its meaning
BATCH = 128
EPS = 1e-5
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
Moments = tuple[Tensor, Tensor]  # per channel: mean (C,), variance (C,)


def _shift(images: Tensor) -> Tensor:
    """Two 112ths of the width to the right and down, edges repeated: a small misalignment."""
    step = max(1, round(images.shape[-1] / 28))
    return F.pad(images, (step, 0, step, 0), mode="replicate")[..., : images.shape[-2], : images.shape[-1]]


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda images: images,
    "flip": lambda images: images.flip(-1),
    "shift": _shift,
    "dim": lambda images: images * 0.7,
    "blur": lambda images: F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1),
}


def normalisation_layers(backbone: nn.Module, reference: Statistics) -> dict[str, nn.Module]:
    """The layers whose input a ``norm`` signal looks at, in forward order of definition.

    BatchNorm layers; with ``feature_means`` every normalisation layer, or, where there are none, every convolution.

    Raises:
        NotApplicableError: the statistics asked for do not exist in this backbone.
    """
    modules = dict(backbone.named_modules())
    if reference == "feature_means":
        norms = {name: m for name, m in modules.items() if isinstance(m, NORMS)}
        layers = norms or {name: m for name, m in modules.items() if isinstance(m, nn.Conv2d)}
        if not layers:
            raise NotApplicableError("the backbone has neither normalisation layers nor convolutions to take feature means of.")
        return layers
    layers = {
        name: m for name, m in modules.items() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None
    }
    if not layers:
        raise NotApplicableError(
            "the backbone has no BatchNorm statistics; attack the means of its features instead (statistics=feature_means)."
        )
    return layers


def channel_moments(features: Tensor) -> Moments:
    """First and second moment of each photo's channels over space, both (B, C).

    ``features`` is (B, C, H, W), (B, tokens, C) or (B, C).
    """
    if features.dim() == 4:
        flat = features.flatten(2)
        return flat.mean(2), flat.square().mean(2)
    if features.dim() == 3:
        return features.mean(1), features.square().mean(1)
    return features, features.square()


@contextmanager
def _recording(layers: Mapping[str, nn.Module], keep: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Hands every layer's input (a convolution's output) to ``keep`` while open."""
    handles = []
    for name, layer in layers.items():
        if isinstance(layer, nn.Conv2d):
            handles.append(layer.register_forward_hook(lambda _m, _i, out, name=name: keep(name, out)))
        else:
            handles.append(layer.register_forward_pre_hook(lambda _m, args, name=name: keep(name, args[0])))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def distance(first: Tensor, second: Tensor, moments: Moments, statistic: str) -> Tensor:
    """Distance of photos' channel statistics from reference moments, (B, 1) or (B, 2).

    ``mean``: d_i = (1/c) ||v̄ - u||^2 (arXiv 2401.13719).  ``mean_var``: the same weighted by 1/variance, and the mean
    squared deviation of the standard deviations' ratio from 1.

    Args:
        first, second: channel moments (B, C) of the photos, see :func:`channel_moments`.
        moments: reference mean and variance, (C,) each.
    """
    mean, var = moments
    if statistic == "mean":
        return (first - mean).square().mean(1, keepdim=True)
    scale = var.clamp_min(EPS)
    weighted = ((first - mean).square() / scale).mean(1)
    # E[(v - u)^2] over space; as variance and bias, because u^2 may be far larger than either
    around_mean = (second - first.square()).clamp_min(0) + (first - mean).square()
    spread = ((around_mean / scale).sqrt() - 1).square().mean(1)
    return torch.stack([weighted, spread], dim=1)


@dataclass(frozen=True)
class ReferenceStatistics:
    """Per-layer moments that photos are compared with; ``digest`` says where they come from."""

    moments: Mapping[str, Moments]
    digest: str


def stored_statistics(backbone: nn.Module) -> ReferenceStatistics:
    """The running statistics that the BatchNorm layers carry."""
    moments = {
        name: (layer.running_mean.detach(), layer.running_var.detach())
        for name, layer in normalisation_layers(backbone, "stored").items()
    }
    return ReferenceStatistics(moments, "stored")


def estimated_statistics(target: Target, photos: Photos, reference: Statistics) -> ReferenceStatistics:
    """Channel means and variances of the same features, estimated on photos the attacker holds; streaming.

    What an attacker does when the stored statistics are hidden, perturbed or absent.
    """
    backbone = target.backbone
    layers = normalisation_layers(backbone, reference)
    sums: dict[str, tuple[Tensor, Tensor]] = {}

    def add(name: str, features: Tensor) -> None:
        first, second = channel_moments(features)
        total = sums.get(name)
        batch = (first.double().sum(0), second.double().sum(0))
        sums[name] = batch if total is None else (total[0] + batch[0], total[1] + batch[1])

    with torch.inference_mode(), _recording(layers, add):
        for start in range(0, len(photos), BATCH):
            images = photos.load(np.arange(start, min(start + BATCH, len(photos))))
            backbone(to_input(images.to(target.device), target.input))
    moments = {}
    for name, (first, second) in sums.items():
        mean = first / len(photos)
        moments[name] = (mean.float(), (second / len(photos) - mean.square()).clamp_min(0).float())
    return ReferenceStatistics(moments, f"{reference}:{photos.digest}")


def measure(
    target: Target,
    images: Tensor,
    requests: Sequence[SignalRequest],
    references: Mapping[str, ReferenceStatistics],
) -> dict[str, Tensor]:
    """Every requested signal of a batch, differentiable with respect to float images.

    Args:
        images: (B, 3, H, W), uint8 or float in [0, 1].
        references: statistics by name, for the ``norm`` requests.

    Returns:
        Tensors (B, ...) by request key.

    Raises:
        AccessError: a request needs more access than the target gives.
    """
    if images.dtype == torch.uint8:
        images = images.float().div(255)
    for request in requests:
        target.require(request.access, f"signal {request.key}")
    results: dict[str, Tensor] = {}
    for view in dict.fromkeys(r.view for r in requests):
        of_view = [r for r in requests if r.view == view]
        norm = [r for r in of_view if r.layers == "norm"]
        columns: dict[str, dict[str, Tensor]] = {r.key: {} for r in norm}

        def reduce(name: str, features: Tensor, norm: list = norm, columns: dict = columns) -> None:
            first, second = channel_moments(features)
            for request in norm:
                moments = references[request.reference].moments.get(name)
                if moments is not None:
                    columns[request.key][name] = distance(first, second, moments, request.statistic)

        inputs = to_input(VIEWS[view](images), target.input)
        if norm:
            watched = {name for r in norm for name in references[r.reference].moments}
            layers = {name: m for name, m in target.backbone.named_modules() if name in watched}
            with _recording(layers, reduce):
                raw = target.backbone(inputs)
        else:
            raw = target.forward(inputs)
        for request in of_view:
            if request.layers == "norm":
                order = references[request.reference].moments
                results[request.key] = torch.cat([columns[request.key][name] for name in order], dim=1)
            else:
                results[request.key] = raw if request.raw else target.transform(raw)
    return results


def extract(
    target: Target,
    photos: Photos,
    requests: Sequence[SignalRequest],
    *,
    references: Mapping[str, ReferenceStatistics] | None = None,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Signals:
    """Signals of all photos in one streaming pass; only what the cache lacks is computed.

    Args:
        references: statistics by name for ``norm`` requests other than ``stored``.
        cache: folder for memory-mapped results; None keeps them in memory.
        progress: called with the number of photos just done.

    Raises:
        AccessError: a request needs more access than the target gives.
        NotApplicableError: a request has no meaning on this backbone.
    """
    requests = tuple(dict.fromkeys(requests))
    references = dict(references or {})
    for request in requests:
        target.require(request.access, f"signal {request.key}")
        if request.layers == "norm" and request.reference == "stored" and "stored" not in references:
            references["stored"] = stored_statistics(target.backbone)
    names = {r.key: _content_name(target, photos, r, references) for r in requests}
    store = SignalFiles(cache, names)
    missing = [r for r in requests if not store.has(r.key)]
    if missing:
        with torch.inference_mode(), store.writing(len(photos)) as write:
            for start in range(0, len(photos), BATCH):
                index = np.arange(start, min(start + BATCH, len(photos)))
                images = photos.load(index).to(target.device, non_blocking=True)
                for key, value in measure(target, images, missing, references).items():
                    write(key, start, value.float().cpu().numpy())
                if progress is not None:
                    progress(len(index))
    return Signals(values={r.key: store.read(r.key) for r in requests}, identity=np.asarray(photos.identity))


def _content_name(target: Target, photos: Photos, request: SignalRequest, references: Mapping[str, ReferenceStatistics]) -> str:
    source = references[request.reference].digest if request.layers == "norm" else ""
    # The same weights may stand under another architecture or normalisation: a card can be corrected.
    model = (target.submission_id, target.spec.model_dump(mode="json"), target.input.model_dump(mode="json"))
    return content_hash(SIGNALS_VERSION, *model, photos.digest, request.key, source)
