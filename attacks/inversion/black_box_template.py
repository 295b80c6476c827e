"""Black-box template inversion: similarity scores are all that is seen, and every one of them is counted."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from attacks.shared.latents import PSpace, draw, from_p, numbers, pictures, to_p
from attacks.shared.objectives import similarity
from benchmark.interfaces import Access, Goal, InversionAttack, InversionContext, InversionOutput, Reference


class BlackBoxTemplate(InversionAttack):
    """A separable evolution strategy (sep-CMA-ES, Ros and Hansen 2008) in the generator's P space, one for each template.

    It starts from the best of ``pool`` random latents and spends at most ``queries`` scores on each template, those of the pool
    among them.  The best image seen is returned.
    """

    name: ClassVar[str] = "black_box_template"
    title: ClassVar[str] = "black-box template inversion"
    summary: ClassVar[str] = "Evolution in latent space by similarity scores alone, within a query budget."
    reference: ClassVar[Reference] = Reference(
        title="A Simple Modification in CMA-ES Achieving Linear Time and Space Complexity", where="PPSN 2008"
    )
    access: ClassVar[Access] = Access.SIMILARITY
    goals: ClassVar[tuple[Goal, ...]] = (Goal.TEMPLATE,)

    queries: int = Field(1000, ge=8)
    pool: int = Field(200, ge=2)
    population: int = Field(20, ge=4)
    step_size: float = Field(0.5, gt=0)  # at the start, in standard deviations of P space

    def invert(self, context: InversionContext) -> InversionOutput:
        gaussian = PSpace.of(context)
        pool = min(self.pool, self.queries // 2)
        first = to_p(draw(context, pool))[:, 0]
        state = Strategy.start(gaussian, first, self._pool_scores(context, first), self.step_size, self.population)
        trace = [1 - state.best_score.mean().item()]
        for _ in range((self.queries - pool) // self.population):
            asked = state.ask()
            scores = similarity(context, state.latents(asked), numbers(context, self.population))
            state.tell(asked, scores.view(context.count, self.population))
            trace.append(1 - state.best_score.mean().item())
        return InversionOutput(pictures(context, from_p(state.best)[:, None]), trace)

    @staticmethod
    def _pool_scores(context: InversionContext, pool: Tensor) -> Tensor:
        """(count, pool): each of the pool's images is asked about once for each template."""
        everyone = from_p(pool).repeat(context.count, 1)[:, None]
        return similarity(context, everyone, numbers(context, len(pool))).view(context.count, len(pool))


class Strategy:
    """sep-CMA-ES on T problems at once: mean (T, D), step size (T,) and a diagonal covariance (T, D), in units of P space."""

    def __init__(self, gaussian: PSpace, mean: Tensor, step_size: float, population: int) -> None:
        count, size = mean.shape
        self.gaussian, self.mean, self.population = gaussian, mean, population
        self.sigma = torch.full((count, 1), step_size, device=mean.device)
        self.variance = torch.ones_like(mean)
        self.path_sigma, self.path = torch.zeros_like(mean), torch.zeros_like(mean)
        self.best, self.best_score = mean.clone(), torch.full((count,), -2.0, device=mean.device)
        parents = population // 2
        weights = (torch.log(torch.tensor((population + 1) / 2)) - torch.log(torch.arange(1, parents + 1))).to(mean.device)
        self.weights = weights / weights.sum()
        effective = 1 / self.weights.square().sum().item()
        self.effective = effective
        self.c_sigma = (effective + 2) / (size + effective + 5)
        self.damping = 1 + 2 * max(0.0, ((effective - 1) / (size + 1)) ** 0.5 - 1) + self.c_sigma
        self.c_path = (4 + effective / size) / (size + 4 + 2 * effective / size)
        self.c_one = 2 / ((size + 1.3) ** 2 + effective)
        self.c_mu = min(1 - self.c_one, 2 * (effective - 2 + 1 / effective) / ((size + 2) ** 2 + effective))
        faster = (size + 2) / 3  # a diagonal has fewer numbers to learn
        self.c_one, self.c_mu = min(0.5, self.c_one * faster), min(0.5, self.c_mu * faster)
        self.length = size**0.5 * (1 - 1 / (4 * size) + 1 / (21 * size**2))  # of a Gaussian vector, on average

    @classmethod
    def start(cls, gaussian: PSpace, pool: Tensor, scores: Tensor, step_size: float, population: int) -> Strategy:
        """From the best of a pool (M, D) with scores (T, M)."""
        top = scores.argmax(1)
        state = cls(gaussian, (pool[top] - gaussian.mean) / gaussian.std, step_size, population)
        state.best, state.best_score = pool[top].clone(), scores.max(1).values
        return state

    def ask(self) -> Tensor:
        """Gaussian draws (T, population, D) around the mean."""
        noise = torch.randn(len(self.mean), self.population, self.mean.shape[1]).to(self.mean.device)
        return self.mean[:, None] + self.sigma[:, None] * self.variance.sqrt()[:, None] * noise

    def latents(self, asked: Tensor) -> Tensor:
        """w (T * population, 1, w_dim)."""
        return from_p(asked * self.gaussian.std + self.gaussian.mean).flatten(0, 1)[:, None]

    def tell(self, asked: Tensor, scores: Tensor) -> None:
        """Moves to the better half, by scores (T, population), higher is better."""
        rows = torch.arange(len(asked), device=asked.device)[:, None]
        order = scores.argsort(1, descending=True)
        top = scores.max(1).values
        improved = top > self.best_score
        winner = asked[rows[:, 0], order[:, 0]] * self.gaussian.std + self.gaussian.mean
        self.best = torch.where(improved[:, None], winner, self.best)
        self.best_score = torch.maximum(top, self.best_score)
        steps = (asked[rows, order[:, : len(self.weights)]] - self.mean[:, None]) / self.sigma[:, None]
        moved = (steps * self.weights[:, None]).sum(1)
        self.mean = self.mean + self.sigma * moved
        whitened = moved / self.variance.sqrt()
        keep = (self.c_sigma * (2 - self.c_sigma) * self.effective) ** 0.5
        self.path_sigma = (1 - self.c_sigma) * self.path_sigma + keep * whitened
        keep = (self.c_path * (2 - self.c_path) * self.effective) ** 0.5
        self.path = (1 - self.c_path) * self.path + keep * moved
        spread = (steps.square() * self.weights[:, None]).sum(1)
        self.variance = (
            (1 - self.c_one - self.c_mu) * self.variance + self.c_one * self.path.square() + self.c_mu * spread
        ).clamp(1e-4, 1e2)
        length = self.path_sigma.norm(dim=1, keepdim=True)
        self.sigma = (self.sigma * torch.exp(self.c_sigma / self.damping * (length / self.length - 1))).clamp(1e-3, 2.0)
