import torch
from strangers import Stranger

from benchmark.evaluation.inversion.kinship import kinship, of_one_origin


def test_a_fine_tuned_network_stays_kin_to_its_parent_and_others_are_not():
    parent, other = Stranger(seed=1).state_dict(), Stranger(seed=2).state_dict()
    tuned = {n: t + 0.3 * t.std() * torch.randn_like(t) if t.dim() > 1 else t + 1 for n, t in parent.items()}
    assert kinship(parent, parent) > 0.999
    assert of_one_origin(parent, tuned)
    assert abs(kinship(parent, other)) < 0.1
    assert not of_one_origin(parent, other)


def test_networks_that_share_a_layer_by_name_alone_are_no_kin():
    small, wide = Stranger(width=16).state_dict(), Stranger(width=32).state_dict()
    assert kinship(small, wide) == 0.0
    assert kinship({}, {}) == 0.0
