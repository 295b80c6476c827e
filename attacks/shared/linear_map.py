"""A linear map from one backbone's embeddings to another's, learned on photos that both were shown."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

RIDGES = tuple(10.0**power for power in range(-4, 3))  # tried, as shares of the victim embeddings' mean squared singular value


@dataclass(frozen=True)
class LinearMap:
    """W (D_victim, D_own) minimising |f_victim W - f_own|^2 over n photos, all embeddings of length 1."""

    weight: Tensor
    ridge: float

    @classmethod
    def fitted(cls, victim: Tensor, own: Tensor) -> LinearMap:
        """From embeddings (n, D_victim) and (n, D_own) of the same photos.

        Few photos (n below D_victim) leave W open; the ridge that predicts a photo left out best settles it (in closed form).
        """
        x, y = F.normalize(victim.double()), F.normalize(own.double())
        u, s, vt = torch.linalg.svd(x, full_matrices=False)
        projected = u.T @ y
        scale = float(s.square().mean())
        best: tuple[float, float, Tensor] | None = None
        for share in RIDGES:
            shrink = s.square() / (s.square() + share * scale)
            leverage = (u.square() * shrink).sum(1, keepdim=True).clamp(max=1 - 1e-9)
            left_out = ((y - u @ (shrink[:, None] * projected)) / (1 - leverage)).square().sum()
            weight = vt.T @ ((s / (s.square() + share * scale))[:, None] * projected)
            if best is None or float(left_out) < best[0]:
                best = float(left_out), share, weight
        assert best is not None
        return cls(best[2].float(), best[1])

    def __call__(self, embeddings: Tensor) -> Tensor:
        """(N, D_own) of length 1 from (N, D_victim)."""
        return F.normalize(F.normalize(embeddings.float()) @ self.weight.to(embeddings.device))
