"""What the training head says of a photo's own class: the reference of attacks that have the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.interfaces import Access, NotApplicableError, SignalRequest, content_hash
from benchmark.signals.channel_moments import ReferenceStatistics
from benchmark.signals.kind import Look, SignalKind
from benchmark.signals.target import HeadClasses, Target


class HeadOutput(SignalRequest):
    """``loss``, ``logit`` or ``entropy`` of the photo's own class, (N, 1); see :func:`own_class`."""

    statistic: Literal["loss", "logit", "entropy"]

    @property
    def access(self) -> Access:
        """It needs the training head."""
        return Access.HEAD

    @property
    def key(self) -> str:
        """See :class:`SignalRequest`."""
        return f"head.{self.statistic}.{self.view}"


class HeadKind(SignalKind[HeadOutput]):
    """Read off the embeddings: the head is one layer."""

    serves = (HeadOutput,)

    def check(self, target: Target, request: HeadOutput, head: HeadClasses | None) -> None:
        """There must be a head, of these people."""
        check_head(target, head)

    def source(
        self, target: Target, request: HeadOutput, references: Mapping[str, ReferenceStatistics], head: HeadClasses | None
    ) -> str:
        """The head and its people."""
        if head is None:
            return ""
        return f"{content_hash(sorted((k, v.double().sum().item()) for k, v in target.head.items()))}:{head.digest}"

    def measure(self, look: Look, requests: Sequence[HeadOutput]) -> dict[str, Tensor]:
        """See :class:`SignalKind`."""
        head, classes = look.batch.head, look.batch.classes
        if head is None or classes is None:
            raise ValueError("head signals need the classes of the head and the people of the photos.")
        own = own_class(head_logits(look.target, look.raw, head.scale), classes)
        return {request.key: own[request.statistic] for request in requests}


def check_head(target: Target, classes: HeadClasses | None) -> None:
    """Raises :class:`NotApplicableError` where the target has no head, or one whose classes are other people."""
    if not target.has_head:
        raise NotApplicableError("the submission was submitted without its training head (head.safetensors).")
    weight = target.head.get("weight")
    if weight is None or weight.dim() != 2:
        raise NotApplicableError("the training head has no class centres: a tensor 'weight' of shape (classes, D).")
    if classes is None or len(weight) != len(classes.people):
        known = "unknown" if classes is None else str(len(classes.people))
        raise NotApplicableError(f"the training head has {len(weight)} classes, the people trained on are {known}.")


def head_logits(target: Target, embeddings: Tensor, scale: float) -> Tensor:
    """Logits (B, classes) without margin: those of a linear layer where the head has a bias, else scaled cosines."""
    head = {name: value.to(embeddings.device, embeddings.dtype) for name, value in target.head.items()}
    if "bias" in head:
        return F.linear(embeddings, head["weight"], head["bias"])
    return scale * F.linear(F.normalize(embeddings), F.normalize(head["weight"]))


def own_class(logits: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """Statistics of each photo's own class, (B, 1) each; NaN where the class is -1.

    ``loss``: cross entropy.  ``logit``: log p - log(1 - p) (arXiv 2112.03570, section IV-C).  ``entropy``: the modified
    entropy -(1 - p_y) log p_y - sum over other classes of p_i log(1 - p_i) (arXiv 2003.10595, equation 8).
    """
    known = (classes >= 0)[:, None]
    own = classes.clamp(min=0)[:, None]
    log = logits.log_softmax(1)
    log_own = log.gather(1, own)
    others = log.scatter(1, own, -torch.inf)
    log_not_own = others.logsumexp(1, keepdim=True)
    log_not = torch.log1p(-others.exp().clamp(max=1 - 1e-7))  # log(1 - p_i) of the other classes; 0 for the own
    entropy = -log_not_own.exp() * log_own - (others.exp() * log_not).sum(1, keepdim=True)
    found = {"loss": -log_own, "logit": log_own - log_not_own, "entropy": entropy}
    return {name: torch.where(known, value, torch.nan) for name, value in found.items()}
