"""Whom inversion is tried on, and the galleries in which its images are looked for: pure functions of a track's split.

Only people whose membership no attacker knows are asked about, so that an attack that knows a labelled share gains nothing
by showing those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.data.populations import HELD_OUT, SEEN, UNSEEN, Populations
from benchmark.evaluation.inversion.identity_metrics import GENERATOR, MEMBER, Gallery
from benchmark.evaluation.inversion.identity_metrics import HELD_OUT as HELD_OUT_GROUP
from benchmark.evaluation.inversion.template_metrics import Targets
from benchmark.interfaces import FaceVeilError, Photos


@dataclass(frozen=True)
class TemplateSubjects:
    """Goal A.  ``sources``: the N photos whose templates leak; ``gallery``: other photos, of everybody asked about.

    A member's template is that of a photo that was trained on, a held-out person's that of any photo.
    """

    sources: Photos
    gallery: Photos
    targets: Targets


@dataclass(frozen=True)
class IdentitySubjects:
    """Goal B: photos of the three equal groups of people."""

    photos: Photos
    gallery: Gallery


def _asked(populations: Populations, side: int) -> dict[int, np.ndarray]:
    """Positions in ``queried`` of each person asked about, by person in order."""
    identity = np.asarray(populations.queried.identity)
    of_side = (populations.side == side) & ~populations.labelled
    return {int(p): np.flatnonzero(of_side & (identity == p)) for p in np.unique(identity[of_side])}


def template_subjects(populations: Populations, targets: int, seed: int) -> TemplateSubjects:
    """Up to ``targets`` members and as many held-out people, drawn with ``seed``.

    Raises:
        FaceVeilError: held-out people have a single photo: nothing is left to compare with.
    """
    others = populations.roles.unseen - 1
    if others < 1:
        raise FaceVeilError(
            f"track {populations.track.name!r} asks about one photo a person; inversion compares with another, so 2 are needed."
        )
    seen, unseen, held_out = (_asked(populations, side) for side in (SEEN, UNSEEN, HELD_OUT))
    gallery = {**{p: photos[:others] for p, photos in unseen.items()}, **{p: photos[1:] for p, photos in held_out.items()}}
    rng = np.random.default_rng([seed, 201])
    number = min(targets, len(seen), len(held_out))
    members = np.sort(rng.permutation(list(seen))[:number])
    strangers = np.sort(rng.permutation(list(held_out))[:number])
    sources = [seen[int(p)][0] for p in members] + [held_out[int(p)][0] for p in strangers]
    person = np.concatenate([members, strangers])
    return TemplateSubjects(
        sources=populations.queried.take(np.array(sources)),
        gallery=populations.queried.take(np.concatenate([gallery[p] for p in sorted(gallery)])),
        targets=Targets(
            person=person,
            member=np.arange(len(person)) < number,
            gallery=np.concatenate([np.full(len(gallery[p]), p) for p in sorted(gallery)]),
        ),
    )


def asked_members(populations: Populations) -> Photos:
    """Photos, not trained on, of the members asked about: what reconstructions of training people should look like."""
    return populations.queried.take(np.concatenate(list(_asked(populations, UNSEEN).values())))


def identity_subjects(populations: Populations, seed: int) -> IdentitySubjects:
    """As many people of each group as the smallest has; ``roles.unseen`` photos of each at most.

    The generator's people are the track's auxiliary people, on whom its generator was trained.
    """
    auxiliary = populations.split.auxiliary
    rng = np.random.default_rng([seed, 202])
    groups = {MEMBER: _asked(populations, UNSEEN), HELD_OUT_GROUP: _asked(populations, HELD_OUT)}
    people = {group: np.array(sorted(found)) for group, found in groups.items()}
    people[GENERATOR] = np.unique(auxiliary[:, 0])
    number = min(len(p) for p in people.values())
    identity_photo = populations.queried_pairs
    rows: list[np.ndarray] = []
    photos: list[int] = []
    group_of: list[int] = []
    for group in (MEMBER, HELD_OUT_GROUP, GENERATOR):
        for p in np.sort(rng.permutation(people[group])[:number]):
            own = auxiliary[auxiliary[:, 0] == p] if group == GENERATOR else identity_photo[groups[group][int(p)]]
            own = own[: populations.roles.unseen]
            rows.append(own)
            photos += [len(group_of)] * len(own)
            group_of.append(group)
    photos_of = populations.source(np.concatenate(rows), "gallery")
    return IdentitySubjects(photos_of, Gallery(np.array(group_of), np.array(photos)))
