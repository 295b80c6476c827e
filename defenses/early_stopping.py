"""Stop training before the network has memorised its photos."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from benchmark.interfaces import AttackSpec, Defense, Reference, TrainerProtocol


class EarlyStopping(Defense):
    """Train for a share of the track's epochs.

    The learning rate follows the track's full schedule until it is cut off, so that a stopped run is a prefix of the
    undefended one.
    """

    name: ClassVar[str] = "early_stopping"
    title: ClassVar[str] = "early stopping"
    summary: ClassVar[str] = "The undefended run, cut off after a share of its epochs."
    reference: ClassVar[Reference] = Reference(
        title="Systematic Evaluation of Privacy Risks of Machine Learning Models",
        where="USENIX Security 2021",
        arxiv="2003.10595",
    )
    family: ClassVar[str] = "training"

    share: float = Field(0.5, gt=0, le=1, description="of the track's epochs, rounded to whole epochs, at least one")

    def display(self) -> str:
        return f"early stopping at {self.share:.0%} of the epochs"

    def fit(self, trainer: TrainerProtocol) -> None:
        epochs = max(1, round(self.share * trainer.config.epochs))
        trainer.provenance["stopped_after_epochs"] = epochs
        trainer.run(epochs)

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """The statistics are the true ones and the loop is the plain one: what adapts is the shadows' training."""
        return (AttackSpec(name="bn_distance", settings={"statistics": "auxiliary"}),)
