from __future__ import annotations

import numpy as np
import pytest

from attacks.membership.head_entropy import ENTROPY, HeadEntropy
from benchmark.interfaces import NotApplicableError, Signals


def test_a_sure_head_is_a_member():
    assert HeadEntropy().score(Signals({ENTROPY.key: np.array([[0.1], [2.0]])}, np.arange(2))).tolist() == [-0.1, -2.0]


def test_people_without_a_class_are_not_scored():
    with pytest.raises(NotApplicableError, match="no class for the people of 1 photos"):
        HeadEntropy().score(Signals({ENTROPY.key: np.array([[0.1], [np.nan]])}, np.arange(2)))
