"""Differentially private training whose unit is a person: all of somebody's photos at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from benchmark.interfaces import Photos, Reference
from defenses.private.base import PrivateDefense
from defenses.private.training import Mechanism, plan


class DPUser(PrivateDefense):
    """DP-SGD with people as units (McMahan et al. 2018, one gradient a person and round).

    In each round every person takes part with the same probability, independently; the mean gradient of all of a person's
    photos is clipped to one norm, so that however many photos somebody has, their influence is the same.  Two training sets
    are neighbours where one lacks all photos of one person.

    The head.  A classification head has a row for every person, which is a trace of them.  Its rows are therefore slots that
    exist before any photo is seen: how many there are is public, their first values are random and independent of the
    photos, and a person's slot stays where their photos are missing.  With ``head="joint"`` a person's gradient with respect
    to *all* rows is part of the update that is clipped and noised, so that the guarantee covers backbone and head; with
    ``head="fixed"`` the rows keep their random directions and carry no noise.

    ``pretrain_epochs`` trains on the track's public people first; the guarantee is that of the members.
    Noise and sampling derive from a secret of the installation, as in ``dp_sgd``.
    """

    name: ClassVar[str] = "dp_user"
    title: ClassVar[str] = "user-level DP"
    summary: ClassVar[str] = "DP-SGD that clips per person, so that the certified epsilon is a person's, not a photo's."
    reference: ClassVar[Reference] = Reference(
        title="Learning Differentially Private Recurrent Language Models", where="ICLR 2018", arxiv="1710.06963"
    )
    unit: ClassVar[Literal["photo", "person"]] = "person"

    noise_multiplier: float | None = Field(0.62, gt=0, le=1000, description="noise deviation in units of max_grad_norm")
    users: PositiveInt = Field(64, le=2**20, description="expected people a round; capped at the number of people")
    rounds: PositiveInt = Field(60, le=5000)
    head: Literal["joint", "fixed"] = Field("joint", description="rows trained within a person's update, or left random")

    def plan(self, units: int) -> Mechanism:
        return plan(
            units,
            self.users,
            steps=self.rounds,
            epsilon=self.epsilon,
            noise_multiplier=self.noise_multiplier,
            delta=self.delta,
            tuning_runs=self.tuning_runs,
        )

    def units(self, photos: Photos) -> Sequence[np.ndarray]:
        return people(np.asarray(photos.identity))

    def public_head(self) -> bool:
        return self.head == "fixed"


def people(identity: np.ndarray) -> list[np.ndarray]:
    """Positions of every person's photos."""
    return [np.flatnonzero(identity == person) for person in np.unique(identity)]
