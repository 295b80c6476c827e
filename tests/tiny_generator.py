"""A generator that needs no training: principal components of public faces.

Its latents are the weights of the components, half of them for the first layer and all for the second, so that W and W+
differ; it draws blurred faces of 32 pixels that backbones recognise well enough to test what searches in its latent space.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.interfaces import Photos


class TinyGenerator(torch.nn.Module):
    """Implements ``FaceGenerator``; ``size`` latents."""

    def __init__(self, photos: Photos, size: int = 48) -> None:
        super().__init__()
        faces = photos.load(np.arange(len(photos))).float().div(255).flatten(1)
        mean = faces.mean(0)
        _, scale, basis = torch.linalg.svd(faces - mean, full_matrices=False)
        self.resolution = round((faces.shape[1] / 3) ** 0.5)
        self.z_dim = self.w_dim = size
        self.num_ws = 2
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis[:size] * (scale[:size, None] / len(faces) ** 0.5))
        self.register_buffer("w_avg", torch.zeros(size))

    def mapping(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """LeakyReLU of z: not Gaussian, as w is not."""
        return (F.leaky_relu(z, 0.2) * truncation)[:, None].expand(-1, self.num_ws, -1)

    def images(self, ws: Tensor) -> Tensor:
        """Both layers' latents back to Gaussian weights, halved and added."""
        weights = F.leaky_relu(ws, 5.0).mean(1)
        flat = self.mean + weights @ self.basis
        return flat.view(-1, 3, self.resolution, self.resolution).clamp(0, 1)
