"""Margin heads: the classification layer that training uses and a deployed system drops."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.protocol.track import HeadSpec

# Keeps arccos and sqrt(1 - cos^2) away from their infinite slopes at +-1.
_SAFE = 1e-6


class Head(nn.Module):
    """Class centres on the unit sphere, ``weight`` (classes, D); subclasses put a margin on the label's cosine.

    ``forward`` gives training logits (B, classes) with margin and scale; ``cosine_logits`` the scaled ones without margin.
    """

    couples_samples: ClassVar[bool] = False  # one sample's loss depends on the others in the batch

    def __init__(self, embedding_size: int, classes: int, scale: float, margin: float, generator: torch.Generator) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin  # the margin in force
        self.whole_margin = margin
        self.weight = nn.Parameter(torch.randn(classes, embedding_size, generator=generator) * 0.01)
        self.sample = 1.0  # share of the classes that a step asks about
        self.drawn: Tensor | None = None  # the classes of this step, sorted; None: all

    def draw(self, labels: Tensor, generator: torch.Generator) -> None:
        """Draws the classes of one step: those of its ``labels`` and others at random, ``sample`` of all (arXiv 2203.15565).

        Until :attr:`drawn` is None again logits are those of the drawn classes, and labels their :meth:`places`.
        """
        present = torch.unique(labels.cpu())
        wanted = max(len(present), round(self.sample * len(self.weight)))
        keys = torch.rand(len(self.weight), generator=generator)
        keys[present] = 2.0  # before all others
        self.drawn = keys.topk(wanted).indices.sort().values.to(self.weight.device)

    def places(self, labels: Tensor) -> Tensor:
        """Class indices (B,) among the classes drawn."""
        return labels if self.drawn is None else torch.searchsorted(self.drawn, labels)

    def centres(self) -> Tensor:
        """Class centres (classes drawn, D)."""
        return self.weight if self.drawn is None else self.weight[self.drawn]

    def ease(self, share: float) -> None:
        """Puts a share of the whole margin in force, for trainings that begin without any."""
        self.margin = share * self.whole_margin

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Cosine of every embedding to every class centre, (B, classes), in float32 even under autocast."""
        with torch.autocast(embeddings.device.type, enabled=False):
            return F.linear(F.normalize(embeddings.float()), F.normalize(self.centres().float()))

    def cosine_logits(self, embeddings: Tensor) -> Tensor:
        """Logits (B, classes) without margin, for whoever attacks with the head."""
        return self.scale * self.cosines(embeddings)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Training logits (B, classes) of embeddings (B, D) with class indices (B,)."""
        cosines = self.cosines(embeddings)
        label_cosine = cosines.gather(1, labels[:, None]).squeeze(1)
        lowered = self.with_margin(label_cosine, embeddings)
        return self.scale * cosines.scatter(1, labels[:, None], lowered[:, None])

    def with_margin(self, cosine: Tensor, embeddings: Tensor) -> Tensor:
        """The label's cosine (B,) with the margin put on."""
        raise NotImplementedError


class Softmax(Head):
    """Plain linear classifier with bias on the unnormalised embedding; scale and margin play no part."""

    def __init__(self, embedding_size: int, classes: int, scale: float, margin: float, generator: torch.Generator) -> None:
        super().__init__(embedding_size, classes, scale, margin, generator)
        self.bias = nn.Parameter(torch.zeros(classes))

    def cosine_logits(self, embeddings: Tensor) -> Tensor:
        """The classifier's own logits: it has no margin to leave out."""
        with torch.autocast(embeddings.device.type, enabled=False):
            bias = self.bias if self.drawn is None else self.bias[self.drawn]
            return F.linear(embeddings.float(), self.centres().float(), bias.float())

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Logits (B, classes); the labels change nothing."""
        return self.cosine_logits(embeddings)


class CosFace(Head):
    """cos(theta) - m for the label (arXiv 1801.09414)."""

    def with_margin(self, cosine: Tensor, embeddings: Tensor) -> Tensor:  # noqa: ARG002
        return cosine - self.margin


class ArcFace(Head):
    """cos(theta + m) for the label (arXiv 1801.07698, equation 3).

    Beyond theta = pi - m, where that would rise again, it is cos(theta) - m sin(m), as in the authors' code.
    """

    def with_margin(self, cosine: Tensor, embeddings: Tensor) -> Tensor:  # noqa: ARG002
        return arcface(cosine, self.margin)


def arcface(cosine: Tensor, margin: float) -> Tensor:
    """The label's cosine (B,) with ArcFace's margin put on."""
    cosine = cosine.clamp(-1 + _SAFE, 1 - _SAFE)
    added = torch.cos(torch.acos(cosine) + margin)
    return torch.where(cosine > math.cos(math.pi - margin), added, cosine - margin * math.sin(margin))


class AdaFace(Head):
    """cos(theta - m z) - m (1 + z) for the label, z the standardised embedding norm (arXiv 2204.00964, section 3.3).

    z = clip(h (|e| - mean) / std, -1, 1), mean and std being running averages of the batches' norms; no gradient flows
    through z, and theta - m z is kept within [0, pi].
    """

    couples_samples: ClassVar[bool] = True
    concentration: ClassVar[float] = 0.333  # h
    momentum: ClassVar[float] = 0.01  # of the running mean and std
    norm_mean: Tensor
    norm_std: Tensor

    def __init__(self, embedding_size: int, classes: int, scale: float, margin: float, generator: torch.Generator) -> None:
        super().__init__(embedding_size, classes, scale, margin, generator)
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_std", torch.tensor(100.0))

    def quality(self, embeddings: Tensor) -> Tensor:
        """z (B,) in [-1, 1]; in training mode the running statistics take this batch in."""
        norms = embeddings.detach().float().norm(dim=1).clamp(0.001, 100)
        if self.training and len(norms) > 1:
            self.norm_mean.lerp_(norms.mean(), self.momentum)
            self.norm_std.lerp_(norms.std(), self.momentum)
        out: Tensor = ((norms - self.norm_mean) / (self.norm_std + 1e-3) * self.concentration).clamp(-1, 1)
        return out

    def with_margin(self, cosine: Tensor, embeddings: Tensor) -> Tensor:
        z = self.quality(embeddings)
        theta = torch.acos(cosine.clamp(-1 + _SAFE, 1 - _SAFE)) - self.margin * z
        return torch.cos(theta.clamp(0, math.pi)) - self.margin * (1 + z)


HEADS: dict[str, type[Head]] = {"softmax": Softmax, "cosface": CosFace, "arcface": ArcFace, "adaface": AdaFace}


def build_head(spec: HeadSpec, embedding_size: int, classes: int, generator: torch.Generator) -> Head:
    """The head that ``spec`` names, its weights drawn from ``generator`` (a CPU generator)."""
    head = HEADS[spec.name](embedding_size, classes, spec.scale, spec.margin, generator)
    head.sample = spec.sample
    return head


def couples_samples(name: str) -> bool:
    """Whether under the head of this name one sample's loss depends on the others in its batch."""
    return HEADS[name].couples_samples
