"""The photos of a track by role: the split applied to a source of faces."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.data.camera import CameraPhotos
from benchmark.data.memberships import HELD_OUT, SEEN, SPARE, UNSEEN, Membership, membership
from benchmark.data.procedural.domains import domain_digest
from benchmark.data.procedural.faces import GENERATOR_VERSION, SyntheticFaces
from benchmark.data.readers.encoded import EncodedFaces
from benchmark.data.readers.eye_positions import warnings_of
from benchmark.data.readers.open import open_faces
from benchmark.data.secret_photos import SecretPhotos
from benchmark.data.splits import Split, fit_roles, split_people, split_synthetic
from benchmark.interfaces import Contrast, FaceVeilError, Photos, content_hash, unknown
from benchmark.protocol.track import Roles, Track
from benchmark.runtime.rounds import find_round

__all__ = [
    "HELD_OUT", "SEEN", "SIDES", "SPARE", "UNSEEN", "Populations", "open_populations", "photo_counts",
]  # fmt: skip

NO_PUBLIC = "track {!r} has no public faces of its own: pass --public PATH (aligned faces of other people)."

SIDES = {
    Contrast.SAMPLE: (SEEN, UNSEEN),
    Contrast.IDENTITY: (UNSEEN, HELD_OUT),
    Contrast.PAPER: (SEEN, HELD_OUT),
}


@dataclass(frozen=True)
class Populations:
    """Photos per role, and what they are to backbone ``number`` of an entry.

    ``source`` turns (identity, photo) pairs into photos, under a name for what they are; ``roles`` are the counts really drawn.
    ``public`` are the faces a defender may train on besides members; None where the track has none.
    """

    track: Track
    roles: Roles
    split: Split
    data_digest: str
    source: Callable[[np.ndarray, str], Photos]
    public: Photos | None = None
    data: Path | None = None  # what was opened, and with which cache: for opening it again in another process
    cache: Path | None = None
    public_data: Path | None = None
    number: int = 0
    given: tuple[EncodedFaces, ...] = ()  # whole sets that a user gave
    round: str | None = None  # sha256 of the secret that photos were drawn from

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may be wrong with the photos that a user gave, such as that they look unaligned; reads some of them."""
        found = [(photos.source.path, warning) for photos in self.given for warning in warnings_of(photos)]
        return tuple(f"{path}: {warning}" for path, warning in found)

    @property
    def split_digest(self) -> str:
        return self.split.digest

    @cached_property
    def public_people(self) -> int:
        """How many people the public faces show."""
        return 0 if self.public is None else len(np.unique(self.public.identity))

    def numbered(self, number: int) -> Populations:
        """The same photos as backbone ``number`` of an entry is trained on and asked about."""
        _ = self.queried  # opened once for all numbers
        other = copy.copy(self)
        object.__setattr__(other, "number", number)
        for name in ("membership", "seen", "side"):
            other.__dict__.pop(name, None)
        return other

    @cached_property
    def membership(self) -> Membership:
        """Which people and photos backbone ``number`` trains on."""
        return membership(self, self.number)

    @cached_property
    def seen(self) -> Photos:
        """The photos that backbone ``number`` is trained on."""
        return self.queried.take(np.flatnonzero(self.membership.photo))

    @cached_property
    def verification(self) -> Photos:
        return self.source(self.split.verification, "verification")

    @cached_property
    def auxiliary(self) -> Photos:
        """The attacker's public faces."""
        return self.source(self.split.auxiliary, "auxiliary")

    @cached_property
    def judges(self) -> Photos:
        return self.source(self.split.judges, "judges")

    def role(self, name: str) -> Photos:
        """The photos of one role: ``members`` (those trained on), ``verification``, ``public``, ``auxiliary`` or ``judges``.

        Raises:
            FaceVeilError: a track without public faces was asked for them.
        """
        photos: Photos | None = getattr(self, "seen" if name == "members" else name)
        if photos is None:
            raise FaceVeilError(NO_PUBLIC.format(self.track.name))
        return photos

    @cached_property
    def queried(self) -> Photos:
        """(N,) every photo of every person of the pool, by person, then photo; :attr:`side` says what each is."""
        return self.source(self.queried_pairs, "queried")

    @property
    def queried_pairs(self) -> np.ndarray:
        """(N, 2) identity and photo of ``queried``."""
        return self.split.pool

    @property
    def companions(self) -> np.ndarray:
        """(n, 2) photos that stand for a person without being asked about on the identity contrast.

        Of a member those trained on; of a held-out person the spare ones: a shadow that trains on them knows the person and
        none of the photos in question.
        """
        return self.queried_pairs[np.isin(self.side, (SEEN, SPARE))]

    @cached_property
    def side(self) -> np.ndarray:
        """(N,) of ``queried``: SEEN, UNSEEN, HELD_OUT or SPARE, as backbone ``number`` was trained."""
        return self.membership.side

    @cached_property
    def labelled(self) -> np.ndarray:
        """(N,) mask of ``queried``: photos of the people whose membership a ``partial`` attacker knows.

        A share of the pool drawn by the split's seed, the same for every number; the rest are the people asked about.
        """
        rng = np.random.default_rng([self.track.split_seed, 77])
        people = np.unique(self.queried_pairs[:, 0])
        known = rng.permutation(people)[: round(self.track.partial_share * len(people))]
        return np.isin(self.queried_pairs[:, 0], known)

    def relabelled(self, side: np.ndarray, labelled: np.ndarray) -> Populations:
        """The same photos with other sides, and other people whose membership is known: for checks of what chance finds."""
        other = copy.copy(self)
        other.__dict__.update(side=side, labelled=labelled)  # in place of what would be derived from the split
        return other


def photo_counts(photos: Photos) -> np.ndarray:
    """Photos per person, (P,), people numbered 0..P-1."""
    return np.bincount(np.asarray(photos.identity))


def _positions(photos: Photos) -> Callable[[np.ndarray], np.ndarray]:
    """Maps (identity, photo index within identity) pairs to positions in ``photos``."""
    identity = np.asarray(photos.identity)
    order = np.argsort(identity, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(identity))])
    return lambda pairs: order[starts[pairs[:, 0]] + pairs[:, 1]]


def open_populations(
    track: Track, data: Path | None = None, cache: Path | None = None, public: Path | None = None
) -> Populations:
    """The photos of a track.

    Args:
        data: the folder, zip, tar or RecordIO of aligned faces, for tracks that read one.
        cache: where rendered photos and scan results are kept.
        public: another set of aligned faces, of other people, that a defender may train on besides members; instead of the
            track's own public people.

    Raises:
        FaceVeilError: data missing where the track needs it, given where it does not, or too few people.
    """
    if track.source == "synthetic":
        return _synthetic(track, data, cache, public)
    if data is None:
        raise FaceVeilError(
            f"track {track.name!r} needs aligned faces: pass --data PATH (a folder, zip, tar or .rec of identity/image, "
            "aligned to the ArcFace template)."
        )
    photos = open_faces(data, track.image_size, cache=cache)
    counts = photo_counts(photos)
    roles = fit_roles(counts, track.roles if public is None else track.roles.model_copy(update={"public": 0}))
    split = split_people(counts, roles, dataset_digest=photos.digest, seed=track.split_seed)
    position = _positions(photos)
    seen: Photos = photos if track.camera is None else CameraPhotos(photos, track.camera)

    def take(pairs: np.ndarray, _role: str) -> Photos:
        return seen.take(position(pairs))

    faces: Photos | None = None
    given: tuple[EncodedFaces, ...] = (photos,)
    if public is not None:
        faces = open_faces(public, track.image_size, cache=cache)
        given = (photos, faces)
    elif len(split.public):
        faces = _in_domain(track, photos, seen).take(position(split.public))
    return Populations(track, roles, split, seen.digest, take, faces, data, cache, public, given=given)


def _in_domain(track: Track, plain: Photos, seen: Photos) -> Photos:
    """Where public people's photos come from: ``seen`` through the track's camera like all others, or ``plain``."""
    domains = {"wild": seen, "clean": plain}
    if track.public_domain not in domains:
        raise unknown("domain of public faces", track.public_domain, domains)
    return domains[track.public_domain]


def _synthetic(track: Track, data: Path | None, cache: Path | None, public: Path | None) -> Populations:
    for path, option in ((data, "--data"), (public, "--public")):
        if path is not None:
            raise FaceVeilError(f"track {track.name!r} draws its own faces; leave out {option}, or choose --track faces-112.")
    size, seed = track.image_size, track.data_seed
    split = split_synthetic(track.roles, seed=track.split_seed)
    made_by = ("synthetic", GENERATOR_VERSION, seed, size, domain_digest("wild"), domain_digest(track.public_domain))
    held = find_round(track.round) if track.round else None
    hidden = SecretPhotos(held.secret, split, track.split_seed) if held else None
    digest = content_hash(*made_by, held.name) if held else content_hash(*made_by)

    def render(pairs: np.ndarray, _role: str) -> Photos:
        return SyntheticFaces(pairs, size, seed, cache, drawn=hidden(pairs) if hidden else None)

    faces = SyntheticFaces(split.public, size, seed, cache, track.public_domain) if len(split.public) else None
    return Populations(track, track.roles, split, digest, render, faces, None, cache, round=held.name if held else None)
