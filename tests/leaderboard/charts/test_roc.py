from __future__ import annotations

import json

from record_factory import make_record

from benchmark.interfaces import Contrast
from leaderboard.charts import roc
from leaderboard.tables import compare, details


def lines(spec: dict) -> tuple[dict, list[dict]]:
    layer = spec["layer"][-1]
    return layer["encoding"], spec["datasets"][layer.get("data", spec.get("data"))["name"]]


def test_roc_is_logarithmic_and_draws_no_zeros():
    record = make_record(leakage=0.4)
    encoding, data = lines(roc.roc(details.roc_frame(record, Contrast.SAMPLE), "attack", "regrown_head").to_dict())
    for axis in ("x", "y"):
        assert encoding[axis]["scale"]["type"] == "log"
        assert encoding[axis]["scale"]["domain"] == [1 / 600, 1]  # from one photo of 600
    assert min(min(row["fpr"], row["tpr"]) for row in data) > 0
    assert len({row["curve"] for row in data}) == 3
    assert "regrown_head" in json.dumps(encoding["strokeWidth"])


def test_curves_of_entries_differ_by_dashes_too_and_keep_their_colours():
    records = {"A: one": make_record(leakage=0.4), "B: two": make_record(leakage=0.1)}
    points = compare.curves(records, Contrast.SAMPLE)
    encoding, _ = lines(roc.roc(points[points["entry"] == "B: two"], "entry", names=list(records)).to_dict())
    assert encoding["color"]["scale"]["domain"] == list(records)
    assert len({str(d) for d in encoding["strokeDash"]["scale"]["range"]}) == 2


def test_the_band_of_a_curve_is_that_of_as_many_photos_as_people():
    from scipy.stats import binomtest

    frame = details.roc_frame(make_record(leakage=0.4), Contrast.SAMPLE)
    assert (frame["tpr_low"] <= frame["tpr"]).all()
    assert (frame["tpr"] <= frame["tpr_high"]).all()
    row = next(row for row in frame.to_dict("records") if abs(row["tpr"] * 200 - round(row["tpr"] * 200)) < 1e-9)
    interval = binomtest(round(row["tpr"] * 200), 200).proportion_ci(0.95, "exact")
    assert abs(row["tpr_low"] - interval.low) < 1e-9
    assert abs(row["tpr_high"] - interval.high) < 1e-9
    on_identity = details.roc_frame(make_record(leakage=0.4), Contrast.IDENTITY)
    assert set(on_identity["positives"]) == {600}


def test_an_attack_keeps_its_colour_on_every_contrast_and_beside_any_other():
    record = make_record(leakage=0.4)
    order = details.curve_order(record)
    found = set()
    for contrast in Contrast:
        points = details.roc_frame(record, contrast)
        for kept in (points, points[points["attack"] == "regrown_head"]):
            encoding, data = lines(roc.roc(kept, "attack", names=order).to_dict())
            scale, legend = encoding["color"]["scale"], encoding["color"]["legend"]
            found.add(scale["range"][scale["domain"].index("regrown_head")])
            assert set(legend["values"]) == {row["curve"] for row in data}
    assert len(found) == 1


def test_no_two_curves_look_alike():
    styles = [roc.line_style(number) for number in range(28)]
    assert len({str(style) for style in styles}) == 28
