from __future__ import annotations

import numpy as np
import pytest

from attacks.shared.taught_by_shadows import boosting, fitted, require_two
from benchmark.interfaces import NotApplicableError, QueryShadow, Signals
from benchmark.metrics.roc import auc


def test_one_shadow_is_not_enough():
    shadow = QueryShadow(Signals({}, np.zeros(0, int)), np.zeros(0, bool), np.zeros(0, int))
    require_two([shadow, shadow])
    with pytest.raises(NotApplicableError, match="another one"):
        require_two([shadow])


def test_a_classifier_learns_what_follows_whatever_the_order_of_rows():
    rng = np.random.default_rng(0)
    columns, labels = rng.normal(size=(400, 3)).round(6), rng.random(400) < 0.5
    columns[labels, 1] += 1.0
    columns[::7, 2] = np.nan
    order = rng.permutation(400)
    plain = fitted(boosting(trees=30, leaves=6), columns, labels).decision_function(columns)
    shuffled = fitted(boosting(trees=30, leaves=6), columns[order], labels[order]).decision_function(columns)
    np.testing.assert_array_equal(plain, shuffled)
    assert auc(plain, labels) > 0.75
