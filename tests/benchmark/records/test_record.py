from __future__ import annotations

import pytest
from record_factory import make_record

from benchmark.interfaces import Contrast


def test_a_record_says_what_matters_in_ten_lines_and_keeps_its_replicates_to_itself():
    record = make_record(utility=0.7, leakage=0.5, unranked=("the blind gate failed",))
    lines = str(record).splitlines()
    assert len(lines) <= 10
    assert "0.500 [0.460, 0.540], n = 200 people" in str(record)
    assert "3 of 4 attacks measured; blind gate passed" in str(record)
    assert "not ranked: the blind gate failed" in lines[-1]
    assert "replicates" not in repr(record)
    assert len(record.headline.leakage_replicates) == 200  # they are there all the same


@pytest.mark.parametrize("contrast", [Contrast.SAMPLE, Contrast.IDENTITY])
def test_the_strongest_attack_is_the_headless_one_of_the_largest_auc(contrast):
    record = make_record(leakage=0.5)
    assert record.strongest(contrast).label == "regrown_head"
    measured = tuple(a for a in record.membership if a.status == "ok")
    reference = measured[0].model_copy(update={"access": "head"})
    assert record.model_copy(update={"membership": (reference, *measured[1:])}).strongest(contrast).label != "regrown_head"
    assert record.model_copy(update={"membership": ()}).strongest(contrast) is None
