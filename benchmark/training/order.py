"""In which order a submission's photos were trained on: a pure function of seed and epoch."""

from __future__ import annotations

import numpy as np

from benchmark.data.populations import Populations
from benchmark.interfaces import NotApplicableError
from benchmark.protocol.registry import defenses
from benchmark.submissions.submission import Submission
from benchmark.training.build import training_track
from benchmark.training.compatibility import overrides
from benchmark.training.composition import compose
from benchmark.training.loop import epoch_batches

MEMORY = 28  # batches that make up 95 % of a running statistic at a momentum of 0.1


def last_batches(submission: Submission, populations: Populations, init: Submission | None = None) -> list[np.ndarray]:
    """Positions among the members' seen photos of every batch of the last epoch, as the plain loop drew them.

    Args:
        init: the weights that it was fine-tuned from, where it was.

    Raises:
        NotApplicableError: the loop was a defence's own, the training set held canaries, or the card does not say how long.
    """
    card = submission.card
    unknown = [d.name for d in card.defenses if d.name not in defenses()]
    if unknown:
        raise NotApplicableError(f"defence {unknown[0]!r} is not known here, nor in which order it trains.")
    if card.canaries is not None:
        raise NotApplicableError("the training set held canaries, so its order is part of their secret.")
    composition = compose(card.defenses)
    owner = next((m.name for m in composition.members if overrides(m, "fit")), None)
    if owner is not None:
        raise NotApplicableError(f"defence {owner!r} owns the training loop, and its order is not that of the plain one.")
    epochs = card.training.get("epochs")
    if not isinstance(epochs, int) or epochs < 1:
        raise NotApplicableError("the card does not say for how many epochs it was trained.")
    config = composition.configure(training_track(populations.track, None, init).training)
    return epoch_batches(len(populations.seen), config.batch_size, card.seed, epochs - 1)


def cuts(batches: int) -> list[int]:
    """How many last batches to set against the earlier ones: a quarter, half, and MEMORY where there are more."""
    return sorted({k for k in (batches // 4, batches // 2, MEMORY) if 0 < k < batches})


def remembered(last: int, momentum: float = 0.1) -> float:
    """Share of a running statistic that the last batches make up."""
    return 1 - (1 - momentum) ** last
