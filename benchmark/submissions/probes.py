"""What a backbone makes of fixed probes: a signature by which near copies of weights are known again.

The signature is the matrix of cosines between the embeddings of 32 fixed pictures, about their mean.  It does not change when
embeddings are scaled, shifted, rotated or mirrored, and hardly when weights are changed by rounding, noise or some training.
"""

from __future__ import annotations

import base64
import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.inputs import to_input
from benchmark.protocol.track import InputSpec

PROBES = 32
_SIDE = 112
_GRIDS = (2, 4, 7, 14, 28)  # cells a side: structure at every scale
_TRIANGLE = np.triu_indices(PROBES, 1)


def probe_pictures() -> Tensor:
    """(32, 3, 112, 112) uint8 colour noise at five scales, the same for ever: its bytes are those of a hash."""
    total = torch.zeros(PROBES, 3, _SIDE, _SIDE)
    for cells in _GRIDS:
        count = PROBES * 3 * cells * cells
        data = hashlib.shake_256(f"faceveil probes {cells}".encode()).digest(count)
        grid = torch.from_numpy(np.frombuffer(data, np.uint8).reshape(PROBES, 3, cells, cells).copy()).float()
        total += F.interpolate(grid, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
    total = (total / len(_GRIDS) - 127.5) * 2 + 127.5  # as much contrast as photos have
    return total.clamp(0, 255).round().to(torch.uint8)


def signature(backbone: nn.Module, spec: InputSpec) -> str:
    """The signature of a backbone in evaluation mode, as text: float16 cosines of the pairs, base64."""
    with torch.inference_mode():
        embeddings = torch.cat([backbone(to_input(part, spec)).double() for part in probe_pictures().split(8)])
    unit = F.normalize(embeddings - embeddings.mean(0))
    cosines = (unit @ unit.T).cpu().numpy()[_TRIANGLE]
    return base64.b64encode(np.nan_to_num(cosines).astype("<f2").tobytes()).decode()
