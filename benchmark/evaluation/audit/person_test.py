"""Was one person in the training set?  An exact test against people who were not, with the error rate of its own statement.

The person's photos get one number: how much better they fit together under the model, and apart from everybody else's, than
one would think.  The same number of every reference person is its distribution for people who were not trained on.  If the
person is one of them (exchangeable with them), the chance to be among the k + 1 highest of n + 1 is (k + 1) / (n + 1); that is
the false positive rate of the statement, and with n people it cannot be lower than 1 / (n + 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from torch import nn

from benchmark.evaluation.audit.module import target_of_module
from benchmark.evaluation.audit.photo_sets import PhotoSet, open_photo_set
from benchmark.evaluation.audit.question import SIZE, AuditPhotos
from benchmark.interfaces import AttackSpec, FaceVeilError, Result, Signals
from benchmark.metrics.intervals import clopper_pearson
from benchmark.protocol.registry import build_attack
from benchmark.protocol.track import InputSpec
from benchmark.signals.answers import Embedding
from benchmark.signals.extraction import extract
from benchmark.signals.pixels import Pixels

STATISTIC = AttackSpec(name="regrown_head", settings={"gallery": "weighted"})
EMBEDDING = Embedding()
PIXELS = Pixels()
Outcome = Literal["found", "not_found", "refused", "confounded"]


class PersonTest(Result):
    """What can be said of one person.

    Attributes:
        fpr: of this very statement, (above + 1) / (others + 1); ``allowed`` is the largest that was wanted.
        conditional: 95 % bounds (Clopper-Pearson) of the share of people not trained on who stand out as much.
        above: reference people who stand out at least as much; ``others``: how many there are.
        photos: of each person, as many as were compared.
        controls: the same rate by what cannot know the training set: pixels alone, and a reference model where one was given.
    """

    outcome: Outcome
    text: str
    fpr: float
    allowed: float
    above: int
    others: int
    photos: int
    conditional: tuple[float, float]
    controls: dict[str, float] = {}
    notes: tuple[str, ...] = ()


def was_i_in_it(
    model: nn.Module,
    *,
    mine: Any,
    others: Any,
    people: Sequence[Any] | None = None,
    input: InputSpec | None = None,
    reference: nn.Module | None = None,
    reference_input: InputSpec | None = None,
    fpr: float = 0.05,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[str], None] | None = None,
) -> PersonTest:
    """Tests whether a person's photos were trained on, against people whose photos were not.

    Args:
        mine: photos of one person, two or more; see :func:`benchmark.evaluation.audit.model_audit.audit` for kinds of sources.
        others: photos of people who were certainly not trained on, of the same kind, one folder a person.
        people: who is on the photos of ``others``, instead of its folders.
        input: what the model takes; default the photos' size, normalised to -1..1.
        reference: a model that was certainly not trained on the person; what it says is subtracted.
        fpr: largest false positive rate at which a statement is wanted.

    Raises:
        FaceVeilError: too few photos, or nobody says who is on those of ``others``.
    """
    tell = progress or (lambda _text: None)
    if not 0 < fpr < 1:
        raise FaceVeilError(f"fpr={fpr} must lie between 0 and 1.")
    tell("reading the photos")
    own, rest = open_photo_set(mine, "mine"), open_photo_set(others, "others", people)
    if rest.people is None:
        raise FaceVeilError("others must say who is on its photos: one folder for each person.")
    photos, notes, each = _chosen(own, rest, fpr, seed)
    count = len(np.unique(photos.identity)) - 1
    if 1 / (count + 1) > fpr:
        return _refusal(count, each, fpr, tuple(notes))
    tell(f"embedding {len(photos)} photos of {count + 1} people")
    spec = input or InputSpec(size=photos.size)
    target = target_of_module(model, spec, device=device)
    signals = extract(target, photos, (EMBEDDING, PIXELS))
    statistic = _statistic(signals[EMBEDDING], photos.identity)
    controls = {"pixels alone": _rate(_statistic(signals[PIXELS], photos.identity))}
    if reference is not None:
        tell("the same by the reference model")
        other = target_of_module(reference, reference_input or spec, device=device)
        expected = _statistic(extract(other, photos, (EMBEDDING,))[EMBEDDING], photos.identity)
        controls["the reference model"] = _rate(expected)
        statistic = _standard(statistic) - _standard(expected)
    return _verdict(statistic, controls, each, fpr, reference is not None, tuple(notes))


def _chosen(own: PhotoSet, rest: PhotoSet, fpr: float, seed: int) -> tuple[AuditPhotos, list[str], int]:
    """As many photos of everybody: the person (identity 0) first, then those of the others who have enough."""
    names = np.array(rest.people)
    present = set(own.hashes)
    positions = [np.flatnonzero(names == name) for name in np.unique(names)]
    notes = []
    shared = [p for p in positions if any(rest.hashes[i] in present for i in p)]
    if shared:
        notes.append(f"{len(shared)} people of the others have a photo that is also among yours, and were left out")
        positions = [p for p in positions if not any(rest.hashes[i] in present for i in p)]
    mine = [i for n, i in enumerate(range(len(own))) if own.hashes[i] not in own.hashes[:n]]
    needed = math.ceil(1 / fpr) - 1
    each = len(mine)
    if each < 2:
        raise FaceVeilError(f"{each} photo of yours is too few: how photos fit together takes two or more.")
    while each > 2 and sum(len(p) >= each for p in positions) < needed:
        each -= 1
    usable = [p for p in positions if len(p) >= each]
    if len(usable) < len(positions):
        notes.append(f"{len(positions) - len(usable)} of the others have fewer than {each} photos and were left out")
    if each < len(mine):
        notes.append(f"{each} of your {len(mine)} photos were compared, because few others have more")
    rng = np.random.default_rng([seed, 53])
    where = [(0, mine[i]) for i in np.sort(rng.permutation(len(mine))[:each])]
    for p in usable:
        where += [(1, int(i)) for i in np.sort(rng.permutation(p)[:each])]
    sets = (own, rest)
    shapes = {sets[s].read(i).shape[:2] for s, i in where[: 4 * each]}
    size = shapes.pop() if len(shapes) == 1 else (SIZE, SIZE)
    return AuditPhotos(sets, tuple(where), np.repeat(np.arange(len(usable) + 1), each), size), notes, each


def _statistic(vectors: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """(P,) mean log-odds of each person's photos under the head regrown from everybody's; person 0 is the one in question."""
    attack = build_attack(STATISTIC)
    scores = attack.score(Signals(values={attack.requests()[0].key: np.asarray(vectors)}, identity=identity))
    return np.bincount(identity, scores) / np.bincount(identity)


def _standard(values: np.ndarray) -> np.ndarray:
    result: np.ndarray = (values - values.mean()) / max(float(values.std()), 1e-12)
    return result


def _rate(statistic: np.ndarray) -> float:
    return (1 + int((statistic[1:] >= statistic[0]).sum())) / len(statistic)


def _refusal(count: int, each: int, fpr: float, notes: tuple[str, ...]) -> PersonTest:
    needed = math.ceil(1 / fpr) - 1
    text = (
        f"no statement: with {count} other people, the most striking result would still be wrong for 1 in {count + 1} of those "
        f"who were not in it ({1 / (count + 1):.1%}), and {fpr:.1%} was asked for. At least {needed} people with {each} photos "
        "are needed."
    )
    return PersonTest(outcome="refused", text=text, fpr=1.0, allowed=fpr, above=count, others=count, photos=each,
                      conditional=(0.0, 1.0), notes=notes)  # fmt: skip


def _verdict(
    statistic: np.ndarray, controls: dict[str, float], each: int, fpr: float, compared: bool, notes: tuple[str, ...]
) -> PersonTest:
    others = len(statistic) - 1
    above = int((statistic[1:] >= statistic[0]).sum())
    rate = _rate(statistic)
    stands = f"your photos stand out more than those of {others - above} of {others} people who were not trained on"
    # With a reference model its view is already subtracted; without one, whatever makes photos alike explains a result away.
    explained = "" if compared or controls["pixels alone"] > fpr else "pixels alone"
    outcome: Outcome
    if rate > fpr:
        outcome = "not_found"
        text = (
            f"nothing can be said: {stands}; calling that a yes would be wrong for {rate:.1%} of people who were not in it, "
            f"more than the {fpr:.1%} asked for. It does not mean that you were not in it."
        )
    elif explained:
        outcome = "confounded"
        text = (
            f"no statement: {stands}, but so they do by their {explained}, without the model. Photos of one session do that: "
            "take photos of different days, or give a model that never saw you as a reference."
        )
    else:
        outcome = "found"
        text = (
            f"probably yes: {stands}. The false positive rate of this statement is {rate:.1%}, if the others' photos are of "
            "the same kind as yours and none of those people was trained on."
        )
    return PersonTest(
        outcome=outcome, text=text, fpr=rate, allowed=fpr, above=above, others=others, photos=each,
        conditional=clopper_pearson(above, others), controls=controls, notes=notes,
    )  # fmt: skip
