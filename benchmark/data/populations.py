"""The photos of a track by role: the split applied to a source of faces."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.data.procedural.faces import SyntheticFaces
from benchmark.data.readers.open import open_faces
from benchmark.data.splits import Split, fit_roles, split_people, split_synthetic
from benchmark.interfaces import Contrast, FaceVeilError, Photos, content_hash
from benchmark.protocol.track import Roles, Track

# Which photos a membership evaluation asks about, in the order in which they stand in `Populations.queried`.
SEEN, UNSEEN, HELD_OUT = 0, 1, 2
SIDES = {
    Contrast.SAMPLE: (SEEN, UNSEEN),
    Contrast.IDENTITY: (UNSEEN, HELD_OUT),
    Contrast.PAPER: (SEEN, HELD_OUT),
}


@dataclass(frozen=True)
class Populations:
    """Photos per role.  ``source`` turns (identity, photo) pairs into photos; ``roles`` are the counts really drawn."""

    track: Track
    roles: Roles
    split: Split
    data_digest: str
    source: Callable[[np.ndarray, str], Photos]
    spare: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))  # see `companions`
    data: Path | None = None  # what was opened, and with which cache: for opening it again in another process
    cache: Path | None = None

    @property
    def split_digest(self) -> str:
        return self.split.digest

    @cached_property
    def seen(self) -> Photos:
        """The photos that are trained on."""
        return self.source(self.split.members_seen, "seen")

    @cached_property
    def verification(self) -> Photos:
        return self.source(self.split.verification, "verification")

    @cached_property
    def auxiliary(self) -> Photos:
        """The attacker's public faces; also the public faces of defences that want some."""
        return self.source(self.split.auxiliary, "auxiliary")

    @cached_property
    def judges(self) -> Photos:
        return self.source(self.split.judges, "judges")

    def role(self, name: str) -> Photos:
        """The photos of one role: ``members`` (those trained on), ``verification``, ``auxiliary`` or ``judges``."""
        photos: Photos = getattr(self, "seen" if name == "members" else name)
        return photos

    @cached_property
    def queried(self) -> Photos:
        """Seen, unseen and held-out photos, in this order; :attr:`side` tells them apart."""
        return self.source(self.queried_pairs, "queried")

    @cached_property
    def queried_pairs(self) -> np.ndarray:
        """(N, 2) identity and photo of ``queried``."""
        return np.concatenate([self.split.members_seen, self.split.members_unseen, self.split.held_out])

    @property
    def companions(self) -> np.ndarray:
        """(n, 2) photos that stand for a person without being asked about on the identity contrast, ``seen`` a person.

        Of a member those trained on; of a held-out person others than those asked about, ``spare``: a shadow that trains on
        them knows the person and none of the photos in question.
        """
        return np.concatenate([self.split.members_seen, self.spare])

    @cached_property
    def side(self) -> np.ndarray:
        """(N,) of ``queried``: SEEN, UNSEEN or HELD_OUT."""
        lengths = [len(self.split.members_seen), len(self.split.members_unseen), len(self.split.held_out)]
        return np.repeat([SEEN, UNSEEN, HELD_OUT], lengths)

    @cached_property
    def labelled(self) -> np.ndarray:
        """(N,) mask of ``queried``: photos of the people whose membership a ``partial`` attacker knows.

        The same share of members and of held-out people, drawn by the split's seed; the rest are the people asked about.
        """
        rng = np.random.default_rng([self.track.split_seed, 77])
        identity = np.asarray(self.queried.identity)
        known = []
        for side in (UNSEEN, HELD_OUT):
            people = np.unique(identity[self.side == side])
            known.append(rng.permutation(people)[: round(self.track.partial_share * len(people))])
        return np.isin(identity, np.concatenate(known))

    def relabelled(self, side: np.ndarray, labelled: np.ndarray) -> Populations:
        """The same photos with other sides, and other people whose membership is known: for checks of what chance finds."""
        other = copy.copy(self)
        other.__dict__.update(side=side, labelled=labelled)  # in place of what would be derived from the split
        return other


def spare_photos(held_out: np.ndarray, photos: Callable[[int], int], seen: int, seed: int) -> np.ndarray:
    """Up to ``seen`` photos of each held-out person that are not asked about, (n, 2), drawn by the split's seed.

    Args:
        photos: how many photos a person has.
    """
    rows = []
    for person in np.unique(held_out[:, 0]).tolist():
        others = np.setdiff1d(np.arange(photos(person)), held_out[held_out[:, 0] == person, 1])
        chosen = np.sort(np.random.default_rng([seed, 78, person]).permutation(others)[:seen])
        rows.append(np.column_stack([np.full(len(chosen), person), chosen]))
    return np.concatenate(rows).astype(np.int64)


def photo_counts(photos: Photos) -> np.ndarray:
    """Photos per person, (P,), people numbered 0..P-1."""
    return np.bincount(np.asarray(photos.identity))


def _positions(photos: Photos) -> Callable[[np.ndarray], np.ndarray]:
    """Maps (identity, photo index within identity) pairs to positions in ``photos``."""
    identity = np.asarray(photos.identity)
    order = np.argsort(identity, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(identity))])
    return lambda pairs: order[starts[pairs[:, 0]] + pairs[:, 1]]


def open_populations(track: Track, data: Path | None = None, cache: Path | None = None) -> Populations:
    """The photos of a track.

    Args:
        data: the folder, zip, tar or RecordIO of aligned faces, for tracks that read one.
        cache: where rendered photos and scan results are kept.

    Raises:
        FaceVeilError: data missing where the track needs it, given where it does not, or too few people.
    """
    if track.source == "synthetic":
        if data is not None:
            raise FaceVeilError(f"track {track.name!r} draws its own faces; leave out --data, or choose --track faces-112.")
        split = split_synthetic(track.roles, seed=track.split_seed)
        digest = content_hash("synthetic", track.data_seed, track.image_size)

        def render(pairs: np.ndarray, _role: str) -> Photos:
            return SyntheticFaces(pairs, track.image_size, track.data_seed, cache)

        roles = track.roles
        spare = spare_photos(split.held_out, lambda _person: roles.seen + roles.unseen, roles.seen, track.split_seed)
        return Populations(track, roles, split, digest, render, spare, None, cache)
    if data is None:
        raise FaceVeilError(
            f"track {track.name!r} needs aligned faces: pass --data PATH (a folder, zip, tar or .rec of identity/image, "
            "aligned to the ArcFace template)."
        )
    photos = open_faces(data, track.image_size, cache=cache)
    counts = photo_counts(photos)
    roles = fit_roles(counts, track.roles)
    split = split_people(counts, roles, dataset_digest=photos.digest, seed=track.split_seed)
    spare = spare_photos(split.held_out, lambda person: int(counts[person]), roles.seen, track.split_seed)
    position = _positions(photos)
    return Populations(
        track, roles, split, photos.digest, lambda pairs, _role: photos.take(position(pairs)), spare, data, cache
    )
