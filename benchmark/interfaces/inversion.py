"""Inversion attacks and the generator that they search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from benchmark.interfaces.photos import Photos
from benchmark.interfaces.plugins import AttackSpec, Plugin
from benchmark.interfaces.threat import Access, Goal

if TYPE_CHECKING:
    import torch


class FaceGenerator(Protocol):
    """A pre-trained generator of faces with a mapping network, as StyleGAN2 has one; frozen by whoever hands it out."""

    resolution: int
    z_dim: int
    w_dim: int
    num_ws: int  # latents of a photo in W+
    w_avg: torch.Tensor  # (w_dim,)

    def mapping(self, z: torch.Tensor, truncation: float = 1.0) -> torch.Tensor:
        """(B, z_dim) standard normal -> (B, num_ws, w_dim), the same w for every layer."""
        ...

    def images(self, ws: torch.Tensor) -> torch.Tensor:
        """(B, num_ws, w_dim) -> float (B, 3, resolution, resolution) in [0, 1]; differentiable, the same for the same ws."""
        ...


ImageFunction = Callable[["torch.Tensor"], "torch.Tensor"]  # images (B, 3, H, W) float in [0, 1] -> (B, ...), differentiable
SimilarityScores = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]


@dataclass(frozen=True)
class InversionContext:
    """Everything that an inversion attack is given.

    ``target`` is a ``benchmark.signals.target.Target`` narrowed to the attack's access.  Images are float (B, 3, S, S) in [0,
    1] with
    S = ``image_size``; generators of another size are resized.
    """

    goal: Goal
    target: Any
    count: int  # images wanted; for the goal ``template`` one for each template
    image_size: int
    public: Photos  # faces that the attacker holds
    seed: int
    device: torch.device
    generator: FaceGenerator | None = None
    generator_training: Photos | None = None  # the faces that the generator was trained on, where they are known
    templates: torch.Tensor | None = None  # (count, D) leaked embeddings, as the system returned them; with `embedding` access
    similarity: SimilarityScores | None = None  # images (B, ...), template numbers (B,) int -> cosines (B,); every image counts
    classes: torch.Tensor | None = None  # (count,) class of each template's person in the training head; with `head` access
    guide: Callable[[AttackSpec], ImageFunction] | None = None  # a membership attack fitted as in stage 1 -> (B,) member logits
    surrogate: Callable[[], ImageFunction] | None = None  # an encoder of the attacker's own, which never saw the target: (B, D)


@dataclass(frozen=True)
class InversionOutput:
    """What an inversion attack returns.

    ``images`` float (count, 3, S, S) in [0, 1]; ``trace`` (steps,) the mean objective after each step, lower is better,
    empty where nothing is optimised.  ``notes`` tell a reader what was done otherwise than asked.
    """

    images: torch.Tensor
    trace: Sequence[float] = ()
    notes: Sequence[str] = ()


class InversionAttack(Plugin):
    """Rebuilds faces from a backbone.  Returns images and the trace of its objective; computes no metric."""

    access: ClassVar[Access]
    goals: ClassVar[tuple[Goal, ...]]
    control: ClassVar[bool] = False  # what every attack must beat

    def required_access(self) -> Access:
        """What this configuration must touch; more than the class's ``access`` where a setting asks for more."""
        return self.access

    def invert(self, context: InversionContext) -> InversionOutput:
        """``context.count`` images.  The same context gives the same images.

        Raises:
            NotApplicableError: what the attack needs is not there; the text says what and how to get it.
        """
        raise NotImplementedError
