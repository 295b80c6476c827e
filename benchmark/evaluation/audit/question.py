"""The photos of an audit: which were trained on, who is on them, and whose membership the attacker knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F

from benchmark.data.populations import HELD_OUT, SEEN, SIDES, UNSEEN
from benchmark.data.readers.images import map_threads
from benchmark.evaluation.audit.photo_sets import PhotoSet
from benchmark.interfaces import Contrast, FaceVeilError, content_hash

FEWEST = 8  # people (or photos, where nobody says who is on them) on each side of a contrast, for each half
SIZE = 112  # of photos that come in different sizes


@dataclass(frozen=True)
class AuditPhotos:
    """Photos of both sets as one, in one size; implements :class:`benchmark.interfaces.Photos`."""

    sets: tuple[PhotoSet, ...]
    where: tuple[tuple[int, int], ...]  # (set, position in it) of each photo
    identity: np.ndarray
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.where)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """(N,) names of the photos."""
        return tuple(self.sets[s].keys[i] for s, i in self.where)

    @cached_property
    def digest(self) -> str:
        """Of content, people and size."""
        return content_hash([self.sets[s].hashes[i] for s, i in self.where], self.identity.tolist(), list(self.size))

    def load(self, index: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Photos as uint8 (B, 3, H, W), RGB; those of another size resized."""
        positions = [int(i) for i in np.asarray(index)]
        threaded = all(photos.threaded for photos in self.sets)
        return torch.stack(map_threads(self._one, positions) if threaded else [self._one(i) for i in positions])

    def take(self, index: Sequence[int] | np.ndarray) -> AuditPhotos:
        """Some of the photos, in the order of ``index``."""
        chosen = np.arange(len(self))[np.asarray(index)]
        return replace(self, where=tuple(self.where[i] for i in chosen), identity=self.identity[chosen])

    def original_shape(self, position: int) -> tuple[int, int]:
        """Height and width of a photo as it was handed over."""
        number, at = self.where[position]
        return self.sets[number].read(at).shape[:2]

    def _one(self, position: int) -> torch.Tensor:
        number, at = self.where[position]
        image = torch.from_numpy(np.array(self.sets[number].read(at))).permute(2, 0, 1)
        if tuple(image.shape[1:]) == self.size:
            return image
        part = _middle(image, self.size)[None].float()
        small = F.interpolate(part, size=self.size, mode="bilinear", align_corners=False, antialias=True)
        return small[0].round().clamp(0, 255).to(torch.uint8)


def one_set(photos: PhotoSet, size: tuple[int, int]) -> AuditPhotos:
    """A single set of photos in one size, everybody a person of their own."""
    return AuditPhotos((photos,), tuple((0, i) for i in range(len(photos))), np.arange(len(photos)), size)


def _middle(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The largest part around the centre with the proportions of ``size``, so that no face is squeezed."""
    height, width = image.shape[1:]
    scale = min(height / size[0], width / size[1])
    rows, columns = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[:, top : top + rows, left : left + columns]


@dataclass(frozen=True)
class Question:
    """N photos with what is true of them, and what the attacker knows.

    Attributes:
        side: (N,) SEEN (trained on), UNSEEN (another photo of somebody trained on) or HELD_OUT (of somebody else).
        labelled: (N,) photos of people whose membership the attacker knows: attacks learn from them and are judged on the rest.
        has_people: whether anybody said who is on the photos; if not, each counts as a person of its own.
        notes: what was done to get here.
    """

    photos: AuditPhotos
    side: np.ndarray
    labelled: np.ndarray
    has_people: bool
    notes: tuple[str, ...] = ()
    seed: int = 0

    @property
    def identity(self) -> np.ndarray:
        return self.photos.identity

    def sides(self, contrast: Contrast, labelled: bool) -> np.ndarray:
        """Positions of a contrast's photos among the people whose membership is known (or those asked about)."""
        return np.flatnonzero(np.isin(self.side, SIDES[contrast]) & (self.labelled == labelled))

    def labels(self, index: np.ndarray, contrast: Contrast) -> np.ndarray:
        """1 for the contrast's positives, 0 for its negatives."""
        result: np.ndarray = (self.side[index] == SIDES[contrast][0]).astype(np.int64)
        return result

    def rows(self, contrast: Contrast, *, labelled: bool, galleries: bool, mixed: bool = False) -> np.ndarray:
        """As :meth:`sides`, for one attack.

        Args:
            galleries: the attack compares photos of a person.  Where whole people are in question it is then given as many
                photos of each: how many there are of somebody would tell the sides apart, whatever the model.
            mixed: photos of all sides, for attacks on people that learn from trained-on and other photos together.
        """
        rows = np.flatnonzero(self.labelled == labelled) if mixed else self.sides(contrast, labelled)
        if not galleries:
            return rows
        if contrast == Contrast.SAMPLE:
            result: np.ndarray = rows[np.bincount(self.identity[rows], minlength=1)[self.identity[rows]] > 1]
            return result
        each = self._photos_each(contrast)
        place, count = _places(self.identity[rows], self.seed)
        return rows[(count >= each) & (place < each)]

    def _photos_each(self, contrast: Contrast) -> int:
        """How many photos of a person are compared: as many as three quarters of the people on either side have, at least 2."""
        counts = []
        for side in SIDES[contrast]:
            of_side = np.bincount(self.identity[self.side == side])
            counts.append(np.quantile(of_side[of_side > 0], 0.25, method="lower"))
        return max(2, int(min(counts)))

    def evened(self, rows: np.ndarray, contrast: Contrast) -> np.ndarray:
        """(R,) which of ``rows`` are counted: within people, as many trained-on photos as others of each person.

        Otherwise people with many trained-on photos would be found by whatever tells people apart.
        """
        if contrast != Contrast.SAMPLE:
            return np.ones(len(rows), bool)
        positive = self.side[rows] == SEEN
        person = self.identity[rows]
        fewer = np.minimum(np.bincount(person, positive), np.bincount(person, ~positive))
        place, _ = _places(2 * person + positive, self.seed)
        result: np.ndarray = place < fewer[person]
        return result

    @cached_property
    def contrasts(self) -> dict[Contrast, str]:
        """Every contrast, with "" where these photos can ask it and otherwise the reason why not."""
        return {contrast: self._reason(contrast) for contrast in Contrast}

    def _reason(self, contrast: Contrast) -> str:
        names = {
            SEEN: "photos that were trained on",
            UNSEEN: "other photos of people who were trained on",
            HELD_OUT: "photos of people who were not trained on",
        }
        for side in SIDES[contrast]:
            count = min(
                len(np.unique(self.identity[(self.side == side) & (self.labelled == known)])) for known in (False, True)
            )
            if count < FEWEST:
                unit = "people" if self.has_people else "photos"
                hint = "" if self.has_people else "; say who is on the photos, if any person is in both sets"
                return f"{names[side]}: {count} {unit} in a half, at least {FEWEST} are needed{hint}."
        return ""


def pose(members: PhotoSet, nonmembers: PhotoSet, *, known: float, seed: int, size: tuple[int, int] | None = None) -> Question:
    """Puts the two sets together: repeated photos left out, people joined by name, half of them made known.

    Args:
        known: share of the people whose membership the attacker knows.
        size: height and width that photos are resized to; default the one they all have, or 112 x 112.

    Raises:
        FaceVeilError: too few photos for any statement.
    """
    if not 0 < known < 1:
        raise FaceVeilError(f"known={known} must lie between 0 and 1: the share of the people that attacks learn from.")
    notes: list[str] = []
    kept = _distinct(members, nonmembers, notes)
    has_people = members.people is not None and nonmembers.people is not None
    if not has_people and (members.people is not None or nonmembers.people is not None):
        notes.append("only one of the two sets says who is on its photos, so this is not used")
    names = _names((members, nonmembers), kept, has_people)
    people, person = np.unique(np.array(names), return_inverse=True)
    member = np.array([s == 0 for s, _ in kept])
    of_member = np.zeros(len(people), bool)
    of_member[person[member]] = True
    side = np.where(member, SEEN, np.where(of_member[person], UNSEEN, HELD_OUT))
    photos = AuditPhotos((members, nonmembers), tuple(kept), person, size or _common_size((members, nonmembers), kept, notes))
    question = Question(photos, side, _known(person, side, known, seed), has_people, tuple(notes), seed)
    if all(question.contrasts.values()):
        raise FaceVeilError(
            f"{int(member.sum())} photos trained on and {int((~member).sum())} others are too few to audit: "
            f"{question.contrasts[Contrast.PAPER] or question.contrasts[Contrast.SAMPLE]}"
        )
    return question


def _places(group: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Each row's place in a random order of its group, (R,) from 0, and how many rows the group has, (R,)."""
    shuffled = np.random.default_rng([seed, 71]).permutation(len(group))
    order = shuffled[np.argsort(group[shuffled], kind="stable")]
    _, start, counts = np.unique(group[order], return_index=True, return_counts=True)
    place, count = np.empty(len(group), np.int64), np.empty(len(group), np.int64)
    place[order] = np.arange(len(group)) - np.repeat(start, counts)
    count[order] = np.repeat(counts, counts)
    return place, count


def _distinct(members: PhotoSet, nonmembers: PhotoSet, notes: list[str]) -> list[tuple[int, int]]:
    """(set, position) of photos, without those in both sets and without repetitions."""
    both = set(members.hashes) & set(nonmembers.hashes)
    if both:
        notes.append(f"{len(both)} photos are in both sets and were left out of both")
    kept, present = [], set(both)
    for number, photos in enumerate((members, nonmembers)):
        for position, content in enumerate(photos.hashes):
            if content not in present:
                present.add(content)
                kept.append((number, position))
        if photos.left_out:
            first, reason = photos.left_out[0]
            notes.append(f"{len(photos.left_out)} files left out, such as {first} ({reason})")
    repeated = len(members) + len(nonmembers) - len(kept) - 2 * len(both)
    if repeated > 0:
        notes.append(f"{repeated} repeated photos left out")
    return kept


def _names(sets: tuple[PhotoSet, PhotoSet], kept: list[tuple[int, int]], has_people: bool) -> list[str]:
    if has_people:
        return [sets[s].people[i] for s, i in kept]  # type: ignore[index]
    return [f"{s}/{i:09d}" for s, i in kept]


def _common_size(sets: tuple[PhotoSet, PhotoSet], kept: list[tuple[int, int]], notes: list[str]) -> tuple[int, int]:
    looked_at = [kept[i] for i in np.unique(np.linspace(0, len(kept) - 1, min(64, len(kept))).astype(int))]
    shapes = {sets[s].read(i).shape[:2] for s, i in looked_at}
    if len(shapes) == 1:
        return shapes.pop()
    notes.append(f"photos come in different sizes and were resized to {SIZE} x {SIZE}; pass size= for another one")
    return SIZE, SIZE


def _known(person: np.ndarray, side: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(N,) photos of the people whose membership is known: a random ``share`` of those with the same sides."""
    kinds = np.zeros(person.max() + 1, np.int64)
    np.bitwise_or.at(kinds, person, 1 << side)
    known = np.zeros(len(kinds), bool)
    for kind in np.unique(kinds):
        group = np.flatnonzero(kinds == kind)
        known[np.random.default_rng([seed, int(kind)]).permutation(group)[: round(share * len(group))]] = True
    result: np.ndarray = known[person]
    return result
