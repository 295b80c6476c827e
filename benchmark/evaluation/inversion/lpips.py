"""LPIPS: how alike two pictures look to people, by a network that was trained on ImageNet."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.interfaces import FaceVeilError
from benchmark.models.checkpoints import read_weights

WEIGHTS = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
SMALLEST = 31  # pixels: below, nothing is left of a picture after AlexNet's strides
_BATCH = 64
# AlexNet's convolutions under lpips' names and under torchvision's
_CONVOLUTIONS = {
    f"net.slice{part}.{layer}.{kind}": f"features.{layer}.{kind}"
    for part, layer in enumerate((0, 3, 6, 8, 10), start=1)
    for kind in ("weight", "bias")
}


class Lpips:
    """LPIPS version 0.1 over AlexNet (arXiv 1801.03924), by the package of its authors.

    The package brings the weights of its linear layers.  Those of AlexNet are read from a file, because nothing is downloaded
    here; only its convolutions are used.

    Args:
        weights: torchvision's ``alexnet-owt-7be5be79.pth``, or the same tensors as ``.safetensors``.

    Raises:
        FaceVeilError: the package is missing, or the file is missing, unreadable or of another network.
    """

    def __init__(self, weights: Path, device: torch.device | str = "cpu") -> None:
        try:
            import lpips
        except ImportError:
            raise FaceVeilError("LPIPS needs the package lpips: pip install 'faceveil[perceptual]'.") from None
        state = _read(weights)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how it calls torchvision
            network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        merged = dict(network.state_dict())
        for name, theirs in _CONVOLUTIONS.items():
            shape = tuple(merged[name].shape)
            if theirs not in state or state[theirs].shape != shape:
                raise FaceVeilError(f"{weights}: no tensor {theirs} of shape {shape}: not AlexNet. Fetch {WEIGHTS}.")
            merged[name] = state[theirs].float()
        network.load_state_dict(merged)
        self._network = network.eval().requires_grad_(False).to(device)
        self._device = torch.device(device)
        self.digest = hashlib.sha256(
            b"".join(merged[name].contiguous().numpy().tobytes() for name in _CONVOLUTIONS)
        ).hexdigest()[:16]

    @torch.inference_mode()
    def __call__(self, images: Tensor, others: Tensor) -> np.ndarray:
        """Distances (N,) between uint8 pictures (N, 3, H, W), pair by pair; 0: the same.

        Raises:
            FaceVeilError: the pictures are too small.
        """
        if min(images.shape[-2:]) < SMALLEST:
            raise FaceVeilError(f"LPIPS needs pictures of at least {SMALLEST} pixels, these have {min(images.shape[-2:])}.")
        found = []
        for one, other in zip(images.split(_BATCH), others.split(_BATCH), strict=True):
            pair = [t.to(self._device).float() / 127.5 - 1 for t in (one, other)]
            found.append(self._network(*pair).flatten().cpu())
        return torch.cat(found).double().numpy() if found else np.zeros(0)


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise FaceVeilError(f"there is no file {path}. LPIPS needs torchvision's AlexNet: fetch {WEIGHTS} and give its path.")
    try:
        return read_weights(path)
    except FaceVeilError as error:
        remedy = f"LPIPS needs the state dict of torchvision's AlexNet: fetch {WEIGHTS}."
        raise FaceVeilError(f"{error} So it cannot be read as weights. {remedy}") from None
