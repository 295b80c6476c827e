"""How views of a photo fit the regrown class of its person: what training saw were views, and so are the attacks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attacks.shared.centres import gallery, log_mean_others, person_sums, regrow, regrow_weighted, unit, weigh
from attacks.shared.statistics import SCALE
from benchmark.interfaces import SignalRequest, Signals
from benchmark.signals.answers import Embedding

SHARPNESS = 0.2  # of the weights of gallery photos, as of the regrown head's
PHOTO = Embedding()


def request(view: str) -> SignalRequest:
    """The embeddings of a view; ``identity`` is the photo itself."""
    return PHOTO if view == "identity" else Embedding(view=view)


def view_logits(signals: Signals, views: Sequence[str]) -> np.ndarray:
    """(N, V) log-odds of each view under the class grown from the person's other photos, those weighing more that fit best.

    Raises:
        NotApplicableError: a person has one photo only.
    """
    photos, person = gallery(signals, PHOTO)
    weights = weigh(regrow_weighted(photos, person, SCALE).log_odds, person, SHARPNESS)
    weighted = photos * weights[:, None]
    sums = person_sums(weighted, person)
    centres = unit(sums)
    own_centre = unit(sums[person] - weighted)
    found = []
    for view in views:
        embeddings = unit(np.asarray(signals[request(view)], np.float64))
        own = SCALE * (embeddings * own_centre).sum(1)
        found.append(own - log_mean_others(embeddings, person, centres, SCALE))
    return np.stack(found, axis=1)


def averaged_logits(signals: Signals, views: Sequence[str], *, weighted: bool) -> np.ndarray:
    """(N,) log-odds of the mean embedding of several views under a head that is regrown from such means."""
    _, person = gallery(signals, PHOTO)
    mean = unit(np.sum([unit(np.asarray(signals[request(v)], np.float64)) for v in views], axis=0))
    return (regrow_weighted if weighted else regrow)(mean, person, SCALE).log_odds
