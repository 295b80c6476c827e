"""Defences, and what training gives their stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from benchmark.interfaces.photos import Batch, ForwardPass, Photos
from benchmark.interfaces.plugins import AttackSpec, BackboneSpec, Plugin

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn


class TrainerProtocol(Protocol):
    """What the training stages of a defence are given (implemented by ``benchmark.training.pipeline.Trainer``)."""

    backbone: nn.Module
    head: Any  # benchmark.models.heads.Head
    extra: nn.ModuleDict  # what the defences' ``modules`` stages added
    photos: Photos
    config: Any  # benchmark.protocol.track.TrainingConfig, as the ``configure`` stages left it
    input: Any  # benchmark.protocol.track.InputSpec
    device: torch.device
    seed: int
    epoch: int  # epochs done
    public: Photos | None
    initialised: bool  # training started from given weights
    provenance: dict[str, Any]  # what a defence wants written in the card, such as its measured (epsilon, delta)
    history: list[Any]  # a benchmark.runtime.progress.TrainingProgress for every epoch done
    checkpoint: Path | None  # of this run, written after every epoch
    progress: Any  # called with a TrainingProgress after every epoch; or None

    @property
    def embedding_size(self) -> int: ...

    @property
    def classes(self) -> int: ...

    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch."""
        ...

    def step_count(self) -> int:
        """Optimiser steps of the whole schedule."""
        ...

    def run(self, epochs: int | None = None) -> None:
        """The plain loop with every training stage, for the configured or for ``epochs`` epochs."""
        ...


@dataclass(frozen=True)
class ReleaseContext:
    """What the ``release`` stage is given beside the trained backbone."""

    photos: Photos  # trained on
    public: Photos | None
    input: Any  # benchmark.protocol.track.InputSpec
    seed: int
    device: torch.device
    provenance: dict[str, Any] = field(default_factory=dict)  # goes to the card; ``claim`` becomes its claim
    noise: int | None = None  # seed of noise that must not be drawn again from the card; None: ``seed``

    @property
    def noise_seed(self) -> int:
        """What noise of the release is drawn from: a secret of the evaluator's, so that a card does not undo it."""
        return self.seed if self.noise is None else self.noise


TRAINING_STAGES = frozenset(("configure", "modules", "watched", "transform_batch", "embed", "loss"))


class Defense(Plugin):
    """A way to train or to release a backbone so that it leaks less.

    Stages, each doing nothing by default, in the order in which they are called:

    - ``prepare`` changes the architecture;
    - ``fit`` owns the training loop (at most one in a composition); the plain loop calls the finer stages of all members:
      ``configure`` (schedule), ``modules`` (networks trained beside), ``watched`` (hidden layers to look at), and for every
      batch ``transform_batch`` (photos), ``embed`` (what the head sees) and ``loss`` (objective);
    - ``release`` changes the trained weights;
    - ``inference`` names a transform of the embeddings from the closed set in ``benchmark.models.output_transforms``.
    """

    # none | control | bn_statistics | dp | training | architecture | input | embedding | unlearning
    family: ClassVar[str]
    couples_samples: ClassVar[bool] = False  # one sample's gradient depends on others: DP refuses it
    trains_on_members: ClassVar[bool] = True  # False: a control that leaves the private photos alone
    needs_public: ClassVar[bool] = False  # wants the track's public people
    post_hoc: ClassVar[bool] = False  # only ``release``/``inference``: undefended weights and shadows are reused
    draws_noise: ClassVar[bool] = False  # its ``release`` draws from ``context.noise_seed``
    needs_batchnorm: ClassVar[bool] = False  # refused where no BatchNorm is left for it to act on
    resets_statistics: ClassVar[bool] = False  # writes all BatchNorm statistics afresh: what was done to them before is lost
    honours: ClassVar[frozenset[str]] = TRAINING_STAGES  # an owner of ``fit``: the other members' stages that its loop calls
    not_applicable: ClassVar[str] = ""  # why it has nothing to act on in a backbone without a head; recorded, never ranked

    def check(self, backbone: BackboneSpec, photos: int) -> None:
        """Raise :class:`FaceVeilError` for what cannot work, before anything is trained.

        Args:
            backbone: as all ``prepare`` stages left it.
            photos: how many will be trained on.
        """

    def uses_public(self) -> bool:
        """Whether this configuration trains on the track's public people: ``needs_public``, or what a setting says."""
        return self.needs_public

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        """Change the architecture before training, by what a card can name: ``norm`` and the backbone's own arguments.

        Applied to its own result it must change nothing: shadows start from the card's backbone.
        """
        return backbone

    def configure(self, config: Any) -> Any:
        """Change the schedule (a ``benchmark.protocol.track.TrainingConfig``, by ``model_copy``)."""
        return config

    def modules(self, trainer: TrainerProtocol) -> Mapping[str, nn.Module]:
        """More networks, under the plug-in's name: trained with the backbone, checkpointed, never released.

        They are found in ``trainer.extra``.  Their buffers are the place for state that has to survive an interruption.
        """
        return {}

    def watched(self, backbone: nn.Module) -> Sequence[str]:
        """Names of modules of the backbone whose outputs ``loss`` wants to see."""
        return ()

    def transform_batch(self, batch: Batch, trainer: TrainerProtocol) -> Batch:
        """Change a batch before the forward pass; torch's global generator is seeded for every epoch."""
        return batch

    def embed(self, embeddings: torch.Tensor, batch: Batch, trainer: TrainerProtocol) -> torch.Tensor:
        """Embeddings (B, D) in, what the head sees in training (B, D) out."""
        return embeddings

    def loss(self, loss: torch.Tensor, batch: ForwardPass, trainer: TrainerProtocol) -> torch.Tensor:
        """Per-sample losses (B,) in, per-sample losses (B,) out; their mean is descended."""
        return loss

    def fit(self, trainer: TrainerProtocol) -> None:
        """Train ``trainer.backbone`` and ``trainer.head`` in place; the default runs the plain loop."""
        trainer.run()

    def release(self, backbone: nn.Module, context: ReleaseContext) -> nn.Module:
        """Change the trained backbone, in evaluation mode, before it is handed out (in place or as another module)."""
        return backbone

    def released_spec(self, backbone: BackboneSpec) -> BackboneSpec:
        """The architecture that ``release`` hands out, where it is another than the one that was trained."""
        return backbone

    def inference(self) -> dict[str, Any] | None:
        """The inference transform that the card names, or None."""
        return None

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Attacks that know this defence, run beside the track's.  Without any it is marked "not adaptively tested"."""
        return ()
