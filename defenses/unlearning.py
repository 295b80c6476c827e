"""Unlearning: people who asked to be forgotten are taken out of a backbone that was trained on them."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from benchmark.interfaces import AttackSpec, Defense, Reference, ReleaseContext
from benchmark.models.heads import build_head
from benchmark.models.inputs import to_input
from benchmark.protocol.track import HeadSpec
from benchmark.runtime.seeding import derived_seed, seeded
from defenses.shared.imitation import embed_photos

CEILING = 20.0  # of a loss that is driven up: beyond it a photo is as far from its class as it will be
METHODS = Literal["fine_tuning", "gradient_ascent", "random_labels", "dispersion"]


class Unlearning(Defense):
    """A share of the people withdraws after training; the backbone is trained on so that it forgets them.

    Whoever unlearns needs a classification layer and has dropped it: it is grown again, a class being the mean embedding of a
    person's photos, and trained on with the backbone.  In every step a batch of those who stay keeps the backbone what it is;
    a batch of those who leave is

    - ``fine_tuning``: not looked at;
    - ``gradient_ascent``: driven away from its classes, the loss going up (NegGrad), at most to a ceiling;
    - ``random_labels``: given the names of people who stay;
    - ``dispersion``: driven apart, the mean cosine between photos of one person going down (after arXiv 2512.13317).

    Compared with a backbone that was trained without those people by ``faceveil unlearn``.
    """

    name: ClassVar[str] = "unlearning"
    title: ClassVar[str] = "Unlearning of people who withdraw"
    summary: ClassVar[str] = (
        "A share of the people is forgotten after training, by ascent, random labels, dispersion or tuning."
    )
    reference: ClassVar[Reference] = Reference(
        title="Eternal Sunshine of the Spotless Net: Selective Forgetting in Deep Networks",
        where="CVPR 2020",
        arxiv="1911.04933",
    )
    family: ClassVar[str] = "unlearning"
    post_hoc: ClassVar[bool] = True

    method: METHODS = Field("random_labels", description="what is done with the photos of those who leave")
    share: float = Field(0.05, gt=0, lt=1, description="of the people who leave")
    epochs: PositiveInt = Field(2, le=100, description="passes over the photos of those who stay")
    lr: float = Field(0.01, gt=0, description="peak rate, falling by a cosine")
    strength: float = Field(1.0, gt=0, description="weight of the photos of those who leave")
    request: int = Field(0, ge=0, description="which request: who leaves follows from it, whatever the seed of the training")

    def leaving(self, identity: np.ndarray) -> np.ndarray:
        """(N,) bool, the photos of the people who leave: the same people in every training, more of them for a larger share."""
        people = np.unique(identity)
        count = min(len(people) - 1, max(1, round(self.share * len(people))))
        return np.isin(identity, np.random.default_rng([self.request, 12]).permutation(people)[:count])

    def release(self, backbone: nn.Module, context: ReleaseContext) -> nn.Module:
        identity = np.asarray(context.photos.identity)
        leaving = self.leaving(identity)
        context.provenance[self.name] = {
            "people_leaving": len(np.unique(identity[leaving])),
            "photos_leaving": int(leaving.sum()),
        }
        with seeded(derived_seed(context.seed, 13)):
            return _Forgetting(self, backbone, context, identity, leaving).run()

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """The head grown again: what is left of the people shows where it always did."""
        return (AttackSpec(name="bn_distance", settings={"statistics": "auxiliary"}), AttackSpec(name="regrown_head"))


class _Forgetting:
    """The loop of one release."""

    def __init__(
        self, plan: Unlearning, backbone: nn.Module, context: ReleaseContext, identity: np.ndarray, leaving: np.ndarray
    ) -> None:
        self.plan, self.backbone, self.context = plan, backbone, context
        people, label = np.unique(identity, return_inverse=True)
        self.label = torch.from_numpy(label).to(context.device)
        self.stay, self.leave = np.flatnonzero(~leaving), np.flatnonzero(leaving)
        self.names = np.unique(label[self.stay])
        self.rng = np.random.default_rng(derived_seed(context.seed, 14))
        embeddings = embed_photos(backbone, context.photos, context.input, context.device)
        centres = torch.zeros(len(people), embeddings.shape[1], device=context.device).index_add_(0, self.label, embeddings)
        self.head = build_head(HeadSpec(), embeddings.shape[1], len(people), torch.Generator().manual_seed(0)).to(
            context.device
        )
        self.head.weight.data.copy_(F.normalize(centres))

    def run(self) -> nn.Module:
        plan, batch = self.plan, min(64, len(self.stay))
        steps = max(1, len(self.stay) // batch) * plan.epochs
        self.backbone.requires_grad_(True).train()
        weights = [*self.backbone.parameters(), *self.head.parameters()]
        optimizer = torch.optim.SGD(weights, lr=plan.lr, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        order: list[int] = []
        for _ in range(steps):
            if len(order) < batch:
                order = self.rng.permutation(self.stay).tolist()
            index, order = np.array(order[:batch]), order[batch:]
            loss = F.cross_entropy(self.head(self._embed(index), self.label[index]), self.label[index])
            if plan.method != "fine_tuning":
                loss = loss + plan.strength * self._forget(self._leaving(batch))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 5.0)
            optimizer.step()
            schedule.step()
        return self.backbone.eval()

    def _leaving(self, most: int) -> np.ndarray:
        """Photos of some people who leave, all of each person's, so that they can be compared with each other."""
        label = self.label.cpu().numpy()[self.leave]
        chosen: list[int] = []
        for person in self.rng.permutation(np.unique(label)):
            own = self.leave[label == person]
            if chosen and len(chosen) + len(own) > most:
                break
            chosen.extend(own[:most])
        return np.array(chosen)

    def _embed(self, index: np.ndarray) -> Tensor:
        images = to_input(self.context.photos.load(index).to(self.context.device), self.context.input)
        out: Tensor = self.backbone(images.contiguous(memory_format=torch.channels_last))
        return out

    def _forget(self, index: np.ndarray) -> Tensor:
        """What is descended so that these photos are forgotten."""
        embeddings, own = self._embed(index), self.label[index]
        if self.plan.method == "dispersion":
            unit = F.normalize(embeddings)
            pairs = (own[:, None] == own).float().fill_diagonal_(0)
            return (unit @ unit.T * pairs).sum() / pairs.sum().clamp_min(1)
        if self.plan.method == "random_labels":
            own = torch.from_numpy(self.rng.choice(self.names, len(index))).to(own.device)
            return F.cross_entropy(self.head(embeddings, own), own)
        return -F.cross_entropy(self.head.cosine_logits(embeddings), own, reduction="none").clamp_max(CEILING).mean()
