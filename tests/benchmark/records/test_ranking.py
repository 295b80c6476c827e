from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_factory import make_record

from benchmark.records.ranking import RankedEntry, rank, scope_gate
from benchmark.records.record import Record


def point(name: str, utility: float, leakage: float, seed: int = 0, spread: float = 0.02, n: int = 50, **fields) -> Record:
    """A record at a point whose replicates share the people's noise and have some of their own, from the name."""
    record = make_record(
        name=name, utility=utility, leakage=leakage, seed=seed, n_replicates=2, settings={"id": name}, **fields
    )
    own, shared = np.random.default_rng([*name.encode(), seed]), np.random.default_rng(7)
    noise = spread * (shared.standard_normal((2, n)) + 0.3 * own.standard_normal((2, n)))
    headline = record.headline.model_copy(
        update={
            "utility_replicates": tuple((utility + noise[0]).tolist()),
            "leakage_replicates": tuple((leakage + noise[1]).tolist()),
        }
    )
    return record.model_copy(update={"headline": headline})


def without_replicates(record: Record) -> Record:
    headline = record.headline.model_copy(update={"utility_replicates": (), "leakage_replicates": ()})
    return record.model_copy(update={"headline": headline})


def ranks(entries: list[RankedEntry]) -> dict[str, int | None]:
    return {entry.label: entry.rank for entry in entries}


points = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 3), st.sampled_from([0.0, 0.02, 0.2])),
    min_size=1,
    max_size=8,
)


def records_of(drawn: list[tuple[int, int, int, float]]) -> list[Record]:
    """Entries on a coarse grid, so that equal values are common, with one to three seeds."""
    records = []
    for i, (utility, leakage, seeds, spread) in enumerate(drawn):
        for seed in range(seeds):
            records.append(point(f"e{i}", 0.3 + utility / 40 + seed / 100, leakage / 40, seed, spread))
    return records


def test_layers_are_pareto_layers_of_clear_differences():
    entries = rank(
        [
            point("strong", 0.80, 0.30),
            point("private", 0.60, 0.05),
            point("worse than strong", 0.70, 0.40),
            point("worst", 0.50, 0.60),
        ]
    )
    assert [(e.label, e.rank, e.tied) for e in entries] == [
        ("strong", 1, True),
        ("private", 1, True),
        ("worse than strong", 2, False),
        ("worst", 3, False),
    ]
    assert entries[2].dominated_by == ("strong",)
    assert set(entries[3].dominated_by) == {"private", "strong", "worse than strong"}


def test_within_a_rank_the_best_recognition_comes_first():
    entries = rank([point("a", 0.5, 0.1), point("b", 0.7, 0.3), point("c", 0.6, 0.2)])
    assert [(e.label, e.rank) for e in entries] == [("b", 1), ("c", 1), ("a", 1)]


def found_nothing(name: str, utility: float, leakage: float, limit: float = 0.05, **fields) -> Record:
    """An entry whose leakage is around 0: its interval ends at ``limit``."""
    record = point(name, utility, leakage, **fields)
    metric = record.headline.leakage.model_copy(update={"value": leakage, "low": leakage - 0.06, "high": limit})
    return record.model_copy(update={"headline": record.headline.model_copy(update={"leakage": metric})})


def test_of_two_entries_in_which_nothing_was_found_the_better_recognition_wins():
    """A leakage of -0.077 is no better than one of 0.008: both are chance."""
    lucky, useful = found_nothing("lucky", 0.013, -0.077), found_nothing("useful", 0.60, 0.008)
    assert ranks(rank([lucky, useful])) == {"useful": 1, "lucky": 2}
    entries = {e.label: e for e in rank([lucky, useful])}
    assert entries["lucky"].nothing_found
    assert (entries["lucky"].leakage.value, entries["lucky"].leakage.high) == (-0.077, 0.05), "shown as measured"


def test_nothing_found_beats_a_significant_leak_and_not_the_other_way_round():
    assert ranks(rank([found_nothing("none", 0.6, 0.03), point("leaks", 0.6, 0.2)])) == {"none": 1, "leaks": 2}
    assert ranks(rank([found_nothing("none", 0.5, 0.03), point("leaks", 0.6, 0.2)])) == {"none": 1, "leaks": 1}


def controls(public: float = 0.47, private: float = 0.64, **fields) -> list[Record]:
    return [
        found_nothing("public_only", public, 0.0, defense="public_only", **fields),
        point("undefended", private, 0.7, defense="undefended", **fields),
    ]


def test_public_only_dominates_whatever_recognises_less_and_leaks_nothing():
    weak, strong = found_nothing("weak", 0.30, -0.05, defense="dp_sgd"), found_nothing("strong", 0.60, 0.01, defense="dp_user")
    entries = {e.label: e for e in rank([*controls(), weak, strong])}
    assert {name: e.rank for name, e in entries.items()} == {"strong": 1, "undefended": 1, "public_only": 2, "weak": 3}
    assert "public_only" in entries["weak"].dominated_by
    assert entries["weak"].bought_nothing
    assert not entries["strong"].bought_nothing
    assert entries["strong"].gain.value == pytest.approx(0.13)
    assert entries["strong"].gain.low > 0
    assert entries["public_only"].gain.value == 0
    assert {name for name, e in entries.items() if e.control} == {"undefended", "public_only"}


def test_nothing_is_ranked_where_private_photos_are_worth_nothing():
    entries = rank([*controls(public=0.87), found_nothing("a", 0.6, 0.0, defense="dp_sgd")])
    assert all(e.rank is None for e in entries)
    assert all(any("value gate failed" in reason for reason in e.reasons) for e in entries)


def test_without_the_controls_the_value_gate_is_not_checked():
    (entry,) = rank([point("a", 0.6, 0.3)])
    assert entry.rank == 1
    assert entry.gain.value is None
    gate = scope_gate(entry.scope, entry.runs)
    assert gate.passed is None
    assert "public_only" in gate.reason


def test_controls_of_the_verified_board_serve_weights_from_outside():
    """Both boards of a track are judged on the same people."""
    outside = found_nothing("outside", 0.30, 0.0, defense="dp_sgd", board="weights")
    entries = {e.label: e for e in rank([*controls(), outside])}
    assert entries["outside"].gain.value == pytest.approx(-0.17)
    assert entries["outside"].rank == 1, "ranked among its own"
    assert entries["outside"].bought_nothing
    failed = {e.label: e for e in rank([*controls(public=0.87), outside])}
    assert failed["outside"].rank is None


def test_the_interval_shown_is_the_record_s_own():
    record = make_record(utility=0.7, leakage=0.5)
    (entry,) = rank([record])
    for axis, metric in ((entry.utility, record.headline.utility), (entry.leakage, record.headline.leakage)):
        assert (axis.value, axis.low, axis.high, axis.n) == (metric.value, metric.low, metric.high, metric.n)


def test_a_difference_within_the_noise_is_a_tie():
    # 0.005 better on both axes, own noise sd 0.02*0.3*sqrt(2) = 0.0085: 0.005 is 0.6 sd, far from significant
    assert ranks(rank([point("a", 0.705, 0.300), point("b", 0.700, 0.305)])) == {"a": 1, "b": 1}
    # the same with 0.05: 6 sd
    assert ranks(rank([point("a", 0.75, 0.30), point("b", 0.70, 0.35)])) == {"a": 1, "b": 2}


def test_pairing_sees_what_separate_intervals_cannot():
    """The noise of the people is shared: intervals overlap widely, paired differences do not."""
    better, worse = point("a", 0.74, 0.30, spread=0.05), point("b", 0.70, 0.37, spread=0.05)
    paired = rank([better, worse])
    assert paired[0].utility.low < paired[1].utility.high, "the records' own intervals overlap"
    assert ranks(paired) == {"a": 1, "b": 2}
    # without replicates only the records' own intervals (+- 0.04 of the factory) are left, and they overlap
    assert ranks(rank([without_replicates(better), without_replicates(worse)])) == {"a": 1, "b": 1}
    assert ranks(rank([without_replicates(better), without_replicates(point("c", 0.60, 0.60))])) == {"a": 1, "c": 2}


def test_significant_on_one_axis_but_worse_on_the_other_does_not_dominate():
    assert ranks(rank([point("a", 0.80, 0.301), point("b", 0.50, 0.300)])) == {"a": 1, "b": 1}
    assert ranks(rank([point("a", 0.80, 0.300), point("b", 0.50, 0.300)])) == {"a": 1, "b": 2}


def test_replicates_that_contradict_the_point_estimate_make_no_cycle():
    """Bootstrap bias can put all replicates on the other side of the point estimate; dominance needs both to agree."""
    a, b = point("a", 0.70, 0.30, spread=0.0), point("b", 0.69, 0.30, spread=0.0)
    biased = b.headline.model_copy(update={"utility_replicates": (0.9,) * 50})
    assert ranks(rank([a, b.model_copy(update={"headline": biased})])) == {"a": 1, "b": 1}


@settings(max_examples=25, deadline=None)
@given(points)
def test_dominance_has_no_cycle_and_explains_the_rank(drawn):
    entries = rank(records_of(drawn))
    by_label = {e.label: e for e in entries}
    for entry in entries:
        above = [by_label[label].rank for label in entry.dominated_by]
        assert all(r < entry.rank for r in above)
        assert entry.rank == 1 + max(above, default=0)
    for entry in entries:
        assert entry.tied == (sum(e.rank == entry.rank for e in entries) > 1)


@settings(max_examples=15, deadline=None)
@given(points, st.randoms(use_true_random=False))
def test_order_of_the_records_does_not_matter(drawn, random):
    records = records_of(drawn)
    shuffled = list(records)
    random.shuffle(shuffled)
    assert rank(records) == rank(shuffled)


@settings(max_examples=15, deadline=None)
@given(points)
def test_a_clearly_dominated_entry_changes_no_other_rank(drawn):
    records = records_of(drawn)
    before = ranks(rank(records))
    after = ranks(rank([*records, point("hopeless", -5.0, 5.0)]))
    assert after.pop("hopeless") == 1 + max(before.values())
    assert after == before


@settings(max_examples=15, deadline=None)
@given(points)
def test_identical_entries_tie(drawn):
    records = records_of(drawn)
    twins = []
    for record in records:
        twin = make_record(name=f"{record.card.name} twin", seed=record.card.seed, settings={"id": record.card.name, "twin": 1})
        twins.append(twin.model_copy(update={"headline": record.headline}))
    found = ranks(rank([*records, *twins]))
    for label in {r.card.name for r in records}:
        assert found[label] == found[f"{label} twin"]


def test_seeds_of_a_configuration_are_one_entry_with_its_spread():
    runs = [point("a", utility, 0.3, seed, spread=0.01) for seed, utility in enumerate((0.60, 0.70, 0.80))]
    (entry,) = rank(runs)
    assert entry.utility.per_seed == (0.60, 0.70, 0.80)
    assert entry.utility.value == pytest.approx(0.70)
    # the spread of seeds (sd of a mean of three draws: 0.047) dwarfs that of the people (0.01)
    assert entry.utility.high - entry.utility.low > 3 * 4 * 0.01


def test_seeds_move_together_on_both_axes():
    """A resampled seed brings its own leakage: replicates of the mean keep the correlation between the axes."""
    runs = [point("a", 0.5 + x, 0.2 + x, seed, spread=0.0) for seed, x in enumerate((0.0, 0.1, 0.2))]
    (entry,) = rank(runs)
    assert entry.utility.high - entry.leakage.high == pytest.approx(0.3)
    assert entry.utility.low - entry.leakage.low == pytest.approx(0.3)


@pytest.mark.parametrize(
    "other",
    [{"track": "synthetic-64"}, {"protocol_version": "0.0"}, {"board": "weights"}, {"split": "another"}],
)
def test_only_one_scope_shares_a_ranking(other):
    entries = rank([point("good", 0.9, 0.1), point("bad", 0.4, 0.6, **other)])
    assert ranks(entries) == {"good": 1, "bad": 1}
    assert not any(e.tied or e.dominated_by for e in entries)


def test_unranked_entries_stay_with_their_reason_and_dominate_nothing():
    entries = rank(
        [
            point("fair", 0.6, 0.4),
            point("gate", 0.9, 0.1, unranked=("blind gate: pixels tell the sample contrast",)),
            make_record(name="half", settings={"id": 1}, complete=False),
            make_record(name="no headline", settings={"id": 2}, headline=False),
        ]
    )
    assert [(e.label, e.rank) for e in entries] == [("fair", 1), ("gate", None), ("half", None), ("no headline", None)]
    assert entries[1].reasons == ("blind gate: pixels tell the sample contrast",)
    assert "incomplete" in entries[2].reasons[0]
    assert "no headline" in entries[3].reasons[0]
    assert entries[3].utility.value is None
    assert entries[1].utility.value == 0.9  # shown all the same


def test_a_seed_that_does_not_count_is_named():
    (entry,) = rank([point("a", 0.7, 0.3, 0), point("a", 0.1, 0.9, 1, complete=False)])
    assert entry.rank == 1
    assert entry.utility.per_seed == (0.7,)
    assert entry.left_out == ("seed 1: incomplete: not every attack of the track and of the defence was run",)


def test_a_submission_evaluated_again_counts_once():
    old = point("a", 0.7, 0.3, created="2026-01-01T00:00:00+00:00")
    new = point("a", 0.6, 0.4, created="2026-02-01T00:00:00+00:00")
    partial = point("a", 0.9, 0.1, created="2026-03-01T00:00:00+00:00", complete=False)
    (entry,) = rank([new, partial, old])
    assert entry.utility.per_seed == (0.6,)


@pytest.mark.parametrize(("board", "runs"), [("verified", (0.6,)), ("weights", (0.7, 0.6))])
def test_a_seed_trained_again_on_another_machine_is_no_second_seed(board, runs):
    """Its weights differ in their last digits, so it is another submission; weights from outside have only a declared seed."""
    old = point("a", 0.7, 0.3, created="2026-01-01T00:00:00+00:00", board=board)
    new = point("a", 0.6, 0.4, created="2026-02-01T00:00:00+00:00", board=board)
    elsewhere = old.provenance.model_copy(update={"submission_id": "0" * len(old.provenance.submission_id)})
    (entry,) = rank([new, old.model_copy(update={"provenance": elsewhere})])
    assert entry.utility.per_seed == runs


def test_a_control_trained_again_is_the_newer_one():
    def public(utility: float, created: str) -> Record:
        record = make_record(
            name="public", defense="public_only", utility=utility, leakage=0.0, created=created, n_replicates=50
        )
        sha = created[:7].encode().hex().ljust(64, "0")
        return record.model_copy(update={"provenance": record.provenance.model_copy(update={"submission_id": sha})})

    old, new = public(0.5, "2026-01-01T00:00:00+00:00"), public(0.4, "2026-02-01T00:00:00+00:00")
    entries = {entry.label: entry for entry in rank([old, new, point("a", 0.6, 0.3)])}
    assert entries["a"].gain.value == pytest.approx(0.2)


def test_replicates_that_are_not_numbers_are_not_used():
    record = point("a", 0.7, 0.3)
    headline = record.headline.model_copy(update={"utility_replicates": (float("nan"),) * 50})
    (entry,) = rank([record.model_copy(update={"headline": headline})])
    assert (entry.utility.low, entry.utility.high) == (record.headline.utility.low, record.headline.utility.high)


def test_no_records():
    assert rank([]) == []


def test_names_that_differ_between_seeds_give_way_to_what_was_trained():
    names = [("a-0", 0), ("a-1", 1)]
    runs = [make_record(name=n, seed=s, defense="dp_sgd", settings={"epsilon": 8}) for n, s in names]
    (entry,) = rank(runs)
    assert entry.label == "dp_sgd(epsilon=8)"


def test_equal_weights_under_another_defence_are_an_entry_of_their_own():
    """A defence that changes no weight hands out the undefended ones, and does not replace the undefended entry."""
    plain, same = point("plain", 0.8, 0.5), point("same", 0.8, 0.5)
    same = same.model_copy(update={"provenance": plain.provenance})
    assert len(rank([plain, same])) == 2
    assert len(rank([plain, plain])) == 1
