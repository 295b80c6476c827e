"""What inversion attacks minimise, and the starting points that minimise it best.

An objective takes images (B, 3, S, S) in [0, 1] and the numbers (B,) of the templates, or classes, that they are made for.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.shared.latents import BATCH, render
from benchmark.interfaces import AttackSpec, Goal, ImageFunction, InversionContext, NotApplicableError

Objective = Callable[[Tensor, Tensor], Tensor]


def guide_of(context: InversionContext, spec: AttackSpec) -> ImageFunction:
    """The membership attack as a differentiable logit.

    Raises:
        NotApplicableError: it has no such form, or no meaning on this target.
    """
    if context.guide is None:
        raise NotApplicableError("no membership attack to be guided by: it needs `weights` access.")
    return context.guide(spec)


def template_objective(context: InversionContext) -> Objective:
    """1 - cosine to the leaked template, of embeddings before the card's transform."""
    templates = context.templates
    if templates is None:
        raise NotApplicableError("no template leaked: this needs the goal `template` and embeddings that the system returns.")

    def objective(images: Tensor, number: Tensor) -> Tensor:
        return 1 - F.cosine_similarity(context.target.features(images), templates[number])

    return objective


def membership_objective(guide: ImageFunction) -> Objective:
    """-log P(member), by the guide's logit."""
    return lambda images, _number: F.softplus(-guide(images))


def class_objective(context: InversionContext) -> Objective:
    """Cross-entropy of the training head's cosines for each image's class (scale 32): what a classifier would add."""
    weight, classes = F.normalize(context.target.head["weight"].to(context.device)), context.classes
    if classes is None:
        raise NotApplicableError("with the head, people are rebuilt by their class: choose the goal `training_identities`.")

    def objective(images: Tensor, number: Tensor) -> Tensor:
        cosines = F.normalize(context.target.features(images)) @ weight.T
        return F.cross_entropy(32 * cosines, classes.to(context.device)[number], reduction="none")

    return objective


def objective_for(context: InversionContext, guide: AttackSpec, head: bool) -> Objective:
    """What the goal asks for: the template; or membership by a guide; or, with the head, a class.

    Raises:
        NotApplicableError: no guide of that form, or no classes.
    """
    if head:
        return class_objective(context)
    if context.goal == Goal.TEMPLATE:
        return template_objective(context)
    return membership_objective(guide_of(context, guide))


def scores_of(context: InversionContext, latents: Tensor, objective: Objective, number: Tensor) -> Tensor:
    """Losses (B,) of latents, without gradients, in batches."""
    with torch.no_grad():
        parts = [
            objective(render(context, latents[i : i + BATCH]), number[i : i + BATCH]) for i in range(0, len(latents), BATCH)
        ]
    return torch.cat(parts)


def embedded_pool(context: InversionContext, latents: Tensor) -> Tensor:
    """Unit embeddings (B, D) by the target of the images of latents, without gradients, in batches."""
    with torch.no_grad():
        parts = [context.target.features(render(context, latents[i : i + BATCH])) for i in range(0, len(latents), BATCH)]
    return F.normalize(torch.cat(parts))


def best_starts(context: InversionContext, pool: Tensor, each: int) -> Tensor:
    """For every target the ``each`` best latents of a shared pool, (count * each, 1, w_dim), target by target.

    By cosine to the template, which takes one query a latent for all targets together.
    """
    assert context.templates is not None
    cosines = F.normalize(context.templates) @ embedded_pool(context, pool).T
    return pool[cosines.topk(each, dim=1).indices.flatten()]


def similarity(context: InversionContext, latents: Tensor, number: Tensor) -> Tensor:
    """What a matcher says (B,) of the images of latents and the templates it keeps, in batches.

    Raises:
        NotApplicableError: there is no template to be similar to.
    """
    if context.similarity is None:
        raise NotApplicableError("no similarity scores to a template: choose the goal `template`.")
    with torch.no_grad():
        parts = [
            context.similarity(render(context, latents[i : i + BATCH]), number[i : i + BATCH])
            for i in range(0, len(latents), BATCH)
        ]
    return torch.cat(parts).float()
