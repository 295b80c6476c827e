from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from attacks.shared.centres import regrow
from defenses.shared.imitation import embed_photos
from defenses.unlearning import Unlearning

METHODS = ("fine_tuning", "gradient_ascent", "random_labels", "dispersion")


def unlearned(trained, context, **settings):
    plan = Unlearning(share=0.4, epochs=8, lr=0.05, **settings)
    given = context()
    return plan.release(copy.deepcopy(trained), given), plan.leaving(np.asarray(given.photos.identity)), given


def fit(backbone, given) -> np.ndarray:
    """(N,) how well each photo fits the class of its person."""
    embeddings = embed_photos(backbone, given.photos, given.input, given.device).numpy().astype(float)
    person = np.unique(np.asarray(given.photos.identity), return_inverse=True)[1]
    return regrow(embeddings, person, 32.0).log_odds


def test_the_same_people_leave_in_every_training_and_more_of_them_for_a_larger_share():
    identity = np.repeat(np.arange(40), 3)
    few, many = (Unlearning(share=share).leaving(identity) for share in (0.05, 0.2))
    assert (few.sum(), many.sum()) == (6, 24)
    assert (many | ~few).all()
    assert not np.array_equal(Unlearning(share=0.2, request=1).leaving(identity), many)
    assert Unlearning(share=0.01).leaving(identity).sum() == 3, "one person at least"


@pytest.mark.parametrize("method", ["gradient_ascent", "random_labels", "dispersion"])
def test_those_who_leave_lose_their_class_and_those_who_stay_keep_it(trained, context, method):
    released, leaving, given = unlearned(trained, context, method=method)
    before, after = fit(trained, given), fit(released, given)
    lost = (before - after)[leaving].mean() - (before - after)[~leaving].mean()
    print(method, "lost more by those who leave:", lost)
    assert lost > 0.5


@pytest.mark.parametrize("method", METHODS)
def test_it_repeats_and_leaves_a_backbone_to_evaluate(trained, context, method):
    first, _, given = unlearned(trained, context, method=method)
    second, _, _ = unlearned(trained, context, method=method)
    assert not first.training
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name
        assert torch.isfinite(tensor.float()).all()
    again = context()
    Unlearning(share=0.4).release(copy.deepcopy(trained), again)
    assert again.provenance["unlearning"]["people_leaving"] == round(0.4 * len(np.unique(given.photos.identity)))


def test_fine_tuning_never_loads_a_photo_of_those_who_leave(trained, context):
    class Watched:
        def __init__(self, photos):
            self.photos, self.loaded = photos, []
            self.identity, self.digest = photos.identity, photos.digest

        def __len__(self):
            return len(self.photos)

        def load(self, index):
            self.loaded.append(np.asarray(index))
            return self.photos.load(index)

    watched = Watched(context().photos)
    plan = Unlearning(share=0.4, method="fine_tuning")
    plan.release(copy.deepcopy(trained), context(photos=watched))
    leaving = plan.leaving(np.asarray(watched.identity))
    centres = -(-len(watched) // 256)  # the first passes embed everybody, for the classes
    assert not leaving[np.concatenate(watched.loaded[centres:])].any()
