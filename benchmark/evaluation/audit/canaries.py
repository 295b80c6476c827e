"""Canaries: photos or people that a fair coin puts into the training set or leaves out, so that leakage can be measured.

An auditor knows every canary and asks of each whether it was trained on.  How the coins fell is the secret of the file
that training writes beside the submission; the card only says that there were canaries.  In the unit ``photo`` a canary is one
photo under the name of a member, in the unit ``person`` a whole person more.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError, model_validator

from benchmark.data.joined import JoinedPhotos
from benchmark.data.patterns import PatternPhotos
from benchmark.data.populations import Populations
from benchmark.interfaces import FaceVeilError, Photos
from benchmark.runtime.atomic import write_text
from benchmark.runtime.seeding import derived_seed
from benchmark.submissions.card import CanaryNote
from benchmark.submissions.submission import Submission

Unit = Literal["photo", "person"]
KINDS: dict[Unit, tuple[str, ...]] = {
    "photo": ("mislabelled", "blank", "out_of_distribution", "duplicated"),
    "person": ("natural", "mislabelled"),
}
GRID = {"blank": 1, "out_of_distribution": 8}  # squares a side


class CanaryPlan(BaseModel):
    """Which canaries: all of them, and how each coin falls, follow from this and the track's photos.

    Kinds of the unit ``photo``: ``mislabelled`` (a stranger under a member's name), ``blank`` (one colour),
    ``out_of_distribution`` (coloured squares), ``duplicated`` (a second copy of a photo that is trained on anyway).
    Kinds of the unit ``person``: ``natural`` (a stranger with as many photos as a member has), ``mislabelled`` (as many photos
    of as many strangers under one name).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: Unit = "photo"
    kind: str = ""  # "": the unit's first
    count: PositiveInt
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _default_kind(cls, values: dict[str, Any]) -> dict[str, Any]:
        unit = values.get("unit", "photo")
        return {**values, "kind": values.get("kind") or KINDS.get(unit, ("",))[0]}

    @model_validator(mode="after")
    def _known_kind(self) -> CanaryPlan:
        if self.kind not in KINDS[self.unit]:
            raise ValueError(
                f"no kind {self.kind!r} of canaries in the unit {self.unit!r}; one of {', '.join(KINDS[self.unit])}"
            )
        return self


@dataclass(frozen=True)
class Canaries:
    """Canaries with their photos.

    ``photos`` (M,) are those of all of them, under the names under which they are trained on; ``canary`` (M,) says whose each
    is; ``included`` (m,) how the coins fell; ``copied`` (M,) which of the members' seen photos duplicates repeat.
    """

    plan: CanaryPlan
    photos: Photos
    canary: np.ndarray
    included: np.ndarray
    copied: np.ndarray | None = None

    @property
    def note(self) -> CanaryNote:
        """What the card says."""
        return CanaryNote(unit=self.plan.unit, kind=self.plan.kind, count=self.plan.count)

    def training_set(self, seen: Photos) -> Photos:
        """The members' seen photos and those of the canaries whose coin says so."""
        chosen = self.photos.take(np.flatnonzero(self.included[self.canary]))
        return JoinedPhotos([seen, chosen], np.concatenate([np.asarray(seen.identity), np.asarray(chosen.identity)]))


def make_plan(unit: str, kind: str, count: int, seed: int) -> CanaryPlan:
    """A plan from what a user says.

    Raises:
        FaceVeilError: no such unit or kind.
    """
    try:
        return CanaryPlan.model_validate({"unit": unit, "kind": kind, "count": count, "seed": seed})
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, d['loc']))} {d['msg']}".strip() for d in error.errors())
        raise FaceVeilError(f"canaries: {reasons}.") from None


def draw_canaries(populations: Populations, plan: CanaryPlan) -> Canaries:
    """The canaries of a plan on a track's photos, the same every time.

    Raises:
        FaceVeilError: the data set has too few people outside the other roles.
    """
    coins = np.random.default_rng(derived_seed(plan.seed, 6)).random(plan.count) < 0.5
    rng = np.random.default_rng(derived_seed(plan.seed, 7))
    photos: Photos
    if plan.unit == "person":
        photos, canary = _people(populations, plan, rng)
        return Canaries(plan, photos, canary, coins)
    if plan.kind == "duplicated":
        return _duplicates(populations, plan, rng, coins)
    if plan.kind == "mislabelled":
        photos = populations.source(_strangers(populations, plan.count, 1), "canaries")
    else:
        patterns = np.arange(plan.count)
        photos = PatternPhotos(patterns, populations.track.image_size, GRID[plan.kind], derived_seed(plan.seed, 8))
    members = np.unique(np.asarray(populations.seen.identity))
    return Canaries(plan, JoinedPhotos([photos], rng.choice(members, plan.count)), np.arange(plan.count), coins)


def _duplicates(populations: Populations, plan: CanaryPlan, rng: np.random.Generator, coins: np.ndarray) -> Canaries:
    seen = populations.seen
    if plan.count > len(seen):
        raise FaceVeilError(
            f"{plan.count} duplicated canaries asked for, of {len(seen)} photos that are trained on: ask for fewer."
        )
    copied = np.sort(rng.permutation(len(seen))[: plan.count])
    return Canaries(plan, seen.take(copied), np.arange(plan.count), coins, copied)


def _people(populations: Populations, plan: CanaryPlan, rng: np.random.Generator) -> tuple[Photos, np.ndarray]:
    """(M,) photos of the extra people, each with as many as a member has, and whose they are."""
    each = populations.roles.seen
    rows = _strangers(populations, plan.count, each)
    if plan.kind == "mislabelled":
        rows = _spread(rows, rng)
    canary = np.repeat(np.arange(plan.count), each)
    return JoinedPhotos([populations.source(rows, "canaries")], _first_free(populations) + canary), canary


def _spread(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same photos in an order in which everyone's first photo comes before anyone's second."""
    rows = rows[rng.permutation(len(rows))]
    turn = np.zeros(len(rows), np.int64)
    for person in np.unique(rows[:, 0]):
        own = np.flatnonzero(rows[:, 0] == person)
        turn[own] = np.arange(len(own))
    return rows[np.argsort(turn, kind="stable")]


def _first_free(populations: Populations) -> int:
    """A number above that of everyone who plays a role."""
    roles = (getattr(populations.split, role.name) for role in fields(populations.split))
    return 1 + max(int(rows[:, 0].max()) for rows in roles if len(rows))


def _strangers(populations: Populations, count: int, each: int) -> np.ndarray:
    """(count x each, 2) photos of ``count`` people who are neither trained on nor asked about.

    New people where faces are drawn; from a data set the judges, who see no membership question.  Where one photo each is
    asked for and there are too few judges, several photos of one judge serve.

    Raises:
        FaceVeilError: too few of them.
    """
    if populations.track.source == "synthetic":
        people = _first_free(populations) + np.arange(count)
        return np.column_stack([np.repeat(people, each), np.tile(np.arange(each), count)])
    judges = populations.split.judges
    groups = [judges[judges[:, 0] == person] for person in np.unique(judges[:, 0])]
    if each == 1:
        rows = np.concatenate([group[i : i + 1] for i in range(max(map(len, groups))) for group in groups if i < len(group)])
    else:
        rows = np.concatenate([judges[:0], *(group[:each] for group in groups if len(group) >= each)])
    if len(rows) < count * each:
        raise FaceVeilError(
            f"{count} canaries of {each} photos asked for, and the data set has judges for {len(rows) // each}: "
            "ask for fewer canaries, for blank or out_of_distribution ones, or give a larger data set."
        )
    return rows[: count * each]


class CanaryFile(BaseModel):
    """The secret file beside a submission that was trained with canaries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    track: str
    submission_id: str
    split_digest: str
    plan: CanaryPlan
    included: tuple[bool, ...]


def canary_path(out: Path) -> Path:
    """Where the secret of the submission ``out`` is kept: beside it, never inside, where it would travel along."""
    return out.with_name(f"{out.name}.canaries.json")


def write_canaries(path: Path, canaries: Canaries, submission: Submission, populations: Populations) -> None:
    """Writes the secret file."""
    file = CanaryFile(
        track=populations.track.name,
        submission_id=submission.submission_id,
        split_digest=populations.split_digest,
        plan=canaries.plan,
        included=tuple(bool(coin) for coin in canaries.included),
    )
    write_text(path, file.model_dump_json(indent=1) + "\n")


def read_canaries(path: Path) -> CanaryFile:
    """What :func:`write_canaries` wrote.

    Raises:
        FaceVeilError: no such file, or not one of these.
    """
    try:
        return CanaryFile.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FaceVeilError(
            f"{path}: {error.strerror}; pass the .canaries.json that `faceveil train --canaries` wrote."
        ) from None
    except ValueError as error:
        raise FaceVeilError(f"{path} is not a canary file: {str(error).splitlines()[0]}.") from None
