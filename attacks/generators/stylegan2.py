"""The StyleGAN2 generator (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", arXiv 1912.04958).

Plain torch: nothing is compiled, no GPU is needed, and its tensors bear the names of the published PyTorch checkpoints.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from attacks.generators.mapping import Mapping
from attacks.generators.modulated import Noise
from attacks.generators.synthesis import Synthesis


class Generator(nn.Module):
    """Latents to faces.  Spaces: z (B, z_dim) Gaussian; w (B, w_dim); ws or W+ (B, num_ws, w_dim), one w a layer.

    Args:
        resolution: side of the images, a power of two from 4 to 1024.
        channel_base, channel_max: block r has min(channel_base / r, channel_max) channels.
        clamp: bound on activations; published checkpoints trained in mixed precision have 256.

    Raises:
        FaceVeilError: a resolution that is not a power of two.
    """

    def __init__(
        self,
        resolution: int,
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 8,
        channel_base: int = 32768,
        channel_max: int = 512,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "resolution": resolution,
            "z_dim": z_dim,
            "w_dim": w_dim,
            "mapping_layers": mapping_layers,
            "channel_base": channel_base,
            "channel_max": channel_max,
            "clamp": clamp,
        }
        self.metadata: dict[str, str] = {}  # what its file says of where it comes from
        self.resolution, self.z_dim, self.w_dim = resolution, z_dim, w_dim
        self.synthesis = Synthesis(resolution, w_dim, channel_base, channel_max, clamp)
        self.num_ws = self.synthesis.num_ws
        self.mapping = Mapping(z_dim, w_dim, self.num_ws, mapping_layers)

    @property
    def w_avg(self) -> Tensor:
        """(w_dim,), the mean of w."""
        return self.mapping.w_avg

    def forward(self, z: Tensor, truncation: float = 1.0, noise: Noise = "const") -> Tensor:
        """(B, z_dim) -> (B, 3, resolution, resolution), about [-1, 1]."""
        out: Tensor = self.synthesis(self.mapping(z, truncation), noise)
        return out

    def images(self, ws: Tensor, noise: Noise = "const") -> Tensor:
        """(B, num_ws, w_dim) -> images (B, 3, resolution, resolution) clamped to [0, 1]."""
        out: Tensor = (self.synthesis(ws, noise) * 0.5 + 0.5).clamp(0, 1)
        return out

    def latents(self, count: int, seed: int) -> Tensor:
        """(count, z_dim) Gaussian latents from a seed, the same on every device."""
        return torch.randn(count, self.z_dim, generator=torch.Generator().manual_seed(seed)).to(self.w_avg.device)
