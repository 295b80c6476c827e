from __future__ import annotations

import sqlite3

import pandas as pd
import pytest
from record_factory import make_record

from benchmark.records import beside
from benchmark.records.results import InversionRecord, Metric
from benchmark.service import store as store_module
from benchmark.service.store import Store, StoreError, record_id
from leaderboard.board import library as library_module
from leaderboard.board.axes import measured
from leaderboard.board.library import Library, build, library, load


def test_keys_are_stable_and_tell_scopes_apart():
    one, two = make_record(seed=0), make_record(seed=1)
    (first,) = build([one]).entries
    (both,) = build([two, one]).entries
    (other,) = build([make_record(split="another")]).entries
    assert first == both != other


def test_load_reads_store_and_files_and_caches_on_their_version(tmp_path):
    url, folder = str(tmp_path / "store.sqlite"), tmp_path / "records"
    folder.mkdir()
    assert load(url, folder).frame.empty
    store = Store(url)
    store.add_record(make_record(name="in store"))
    (folder / "one.json").write_text(make_record(name="in file", settings={"x": 1}).model_dump_json())
    first = load(url, folder)
    assert set(first.frame["entry"]) == {"in store", "in file"}
    assert load(url, folder) is first  # nothing changed: nothing is read again
    store.add_record(make_record(name="new", settings={"x": 2}))
    assert set(load(url, folder).frame["entry"]) == {"in store", "in file", "new"}
    listed = [make_record(name=n, settings={"n": n}).model_dump_json() for n in ("a", "b")]
    (folder / "two.json").write_text(f"[{','.join(listed)}]")
    assert len(load(url, folder).frame) == 5


def test_a_record_in_the_store_and_in_a_file_is_one_entry(tmp_path):
    Store(str(tmp_path / "s.sqlite")).add_record(make_record())
    (tmp_path / "same.json").write_text(make_record().model_dump_json())
    board = load(str(tmp_path / "s.sqlite"), tmp_path)
    assert list(board.frame["seeds"]) == [1]
    assert len(next(iter(board.entries.values())).runs) == 1


def test_files_that_are_no_records_are_named_and_the_rest_is_shown(tmp_path):
    (tmp_path / "a.json").write_text("{ no json")
    (tmp_path / "b.json").write_text('{"track": 1}')
    (tmp_path / "c.json").write_text(make_record(name="good").model_dump_json())
    board = load(str(tmp_path / "s.sqlite"), tmp_path)
    assert list(board.frame["entry"]) == ["good"]
    assert [p.split()[0] for p in board.problems] == ["a.json", "b.json"]


def test_the_store_is_named_by_the_environment(tmp_path, monkeypatch):
    Store(str(tmp_path / "x.sqlite")).add_record(make_record(name="by environment"))
    monkeypatch.setenv("FACEVEIL_STORE_URL", str(tmp_path / "x.sqlite"))
    assert list(load(folder=tmp_path).frame["entry"]) == ["by environment"]


def test_a_store_that_cannot_be_read_says_so(tmp_path):
    (tmp_path / "no.sqlite").write_bytes(b"this is not a database" * 100)
    with pytest.raises(StoreError):
        load(str(tmp_path / "no.sqlite"), tmp_path)


def test_only_what_changed_is_read_and_ranked_again(tmp_path, monkeypatch):
    url = str(tmp_path / "s.sqlite")
    store = Store(url)
    for track in ("one", "two"):
        store.add_record(make_record(track=track))
    load(url, tmp_path)
    read, ranked = [], []
    run_of, rank_scope = store_module.run_of, library_module.rank_scope
    monkeypatch.setattr(store_module, "run_of", lambda text: (read.append(run_of(text).name), run_of(text))[1])
    monkeypatch.setattr(library_module, "rank_scope", lambda s, r, c: (ranked.append(s.track), rank_scope(s, r, c))[1])
    store.add_record(make_record("new", settings={"a": 1}, track="two"))
    assert len(load(url, tmp_path).frame) == 3
    assert (read, ranked) == (["new"], ["two"])


@pytest.mark.parametrize("where", ["store", "file"])
def test_the_whole_record_is_read_when_it_is_asked_for(tmp_path, where):
    url = str(tmp_path / "s.sqlite")
    records = [make_record("a"), make_record("b", settings={"x": 1})]
    if where == "store":
        for record in records:
            Store(url).add_record(record)
    else:
        (tmp_path / "list.json").write_text(f"[{','.join(r.model_dump_json() for r in records)}]")
    here = library(url, tmp_path)
    found = [here.record(entry.runs[0]) for entry in here.board().entries.values()]
    assert sorted(found, key=lambda r: r.card.name) == records


def test_a_run_holds_no_curves_and_no_card(tmp_path):
    """Ten thousand of them must fit in a small machine."""
    run = build([make_record()]).frame
    assert not any("roc" in column for column in run)
    (entry,) = build([make_record()]).entries.values()
    fields = {name: getattr(entry.runs[0], name) for name in type(entry.runs[0]).__dataclass_fields__}
    assert "card" not in fields
    assert fields["headline"].utility_replicates == ()
    assert len(fields["utility_replicates"]) == 200


def spoil(path, name, edit):
    """Changes the stored text of a record behind the store's back."""
    with sqlite3.connect(path) as connection:
        (payload,) = connection.execute("SELECT payload FROM records WHERE id = ?", (name,)).fetchone()
        connection.execute("UPDATE records SET payload = ? WHERE id = ?", (edit(payload), name))
        connection.execute("DELETE FROM digests WHERE record_id = ?", (name,))
        connection.execute("UPDATE meta SET value = value + 1")


SPOILT = {
    "cut": lambda text: text[: len(text) // 2],
    "emptied": lambda _text: "",
    "not text": lambda text: text.replace('"track"', '"tra\x00ck"', 1),
    "seconds of 400 digits": lambda text: text.replace('"training":{}', '"training":{"seconds":1' + "0" * 400 + "}", 1),
    "count of 30 digits": lambda text: text.replace('"n":150', '"n":1' + "0" * 30),
    "infinite": lambda text: text.replace('"seconds":61.5', '"seconds":1e999', 1),
    "no defence": lambda text: text.replace('"defenses":[{"name":"undefended"', '"defenses":[{"nam":"undefended"', 1),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILT)
def test_one_record_that_cannot_be_shown_is_named_and_the_others_are_shown(tmp_path, case):
    url = tmp_path / "s.sqlite"
    store = Store(url)
    bad = make_record(name="bad")
    store.add_record(bad)
    for n in range(3):
        store.add_record(make_record(name=f"good {n}", settings={"n": n}))
    spoil(url, record_id(bad), SPOILT[case])
    board = load(str(url), tmp_path)
    assert sorted(board.frame["entry"]) == ["good 0", "good 1", "good 2"]
    (problem,) = board.problems
    assert record_id(bad)[:16] in problem
    told = []
    assert len(store.records(unreadable=told.append)) + len(told) == 4


def test_want_of_memory_hides_no_record(tmp_path, monkeypatch):
    """A board without some of its records would have been kept until the store changed."""
    url = str(tmp_path / "s.sqlite")
    Store(url).add_record(make_record(name="stored"))
    (tmp_path / "beside.json").write_text(make_record(name="beside", settings={"n": 1}).model_dump_json())

    def scarce(*_arguments):
        raise MemoryError

    monkeypatch.setattr(Store, "digests", lambda *_: iter(()))  # as of a store of an older version
    for owner, name in ((Store, "make_digest"), (library_module, "shown"), (library_module, "rank_scope")):
        with monkeypatch.context() as full:
            full.setattr(owner, name, scarce)
            with pytest.raises(MemoryError):
                load(url, tmp_path)
    assert sorted(load(url, tmp_path).frame["entry"]) == ["beside", "stored"]


def test_a_record_that_cannot_be_ranked_is_named_and_the_others_are_ranked(tmp_path, monkeypatch):
    url = str(tmp_path / "s.sqlite")
    store = Store(url)
    for n in range(3):
        store.add_record(make_record(name=f"entry {n}", settings={"n": n}))
    rank_scope = library_module.rank_scope

    def fragile(scope, runs, pool):
        if any(run.name == "entry 1" for run in runs):
            raise OverflowError("int too large to convert to float")
        return rank_scope(scope, runs, pool)

    monkeypatch.setattr(library_module, "rank_scope", fragile)
    board = load(url, tmp_path)
    assert sorted(board.frame["entry"]) == ["entry 0", "entry 2"]
    assert board.problems == ("entry 1 by FaceVeil is not shown: OverflowError: int too large to convert to float",)


def test_a_record_out_of_bounds_is_not_stored(tmp_path):
    store = Store(tmp_path / "s.sqlite")
    record = make_record()
    head = record.headline.utility.model_copy(update={"n": 10**30})
    with pytest.raises(StoreError, match="n' is a whole number of 100 bits"):
        store.add_record(record.model_copy(update={"headline": record.headline.model_copy(update={"utility": head})}))
    with pytest.raises(StoreError, match="not a finite number"):
        store.add_record(record.model_copy(update={"extra": {"x": float("inf")}}))
    assert store.records() == []


def test_what_quickstart_ran_here_stands_beside_what_was_published(tmp_path):
    store = Store(tmp_path / "store.sqlite")
    store.add_record(make_record("undefended", team="quickstart"))
    store.add_record(make_record("dp", "dp_sgd", team="quickstart", leakage=0.1))
    store.add_record(make_record("ours", "dropout", team="FaceVeil"))
    board = Library(store, tmp_path).board()
    assert {scope.board: sorted(rows["entry"]) for scope, rows in board.scopes.items()} == {
        "verified": ["ours"],
        "local": ["dp", "undefended"],
    }
    dp = next(entry for entry in board.entries.values() if entry.label == "dp")
    assert dp.leakage_change.value is not None  # against this machine's own control, as none was published


def stored(tmp_path, *records):
    store = Store(tmp_path / "s.sqlite")
    for record in records:
        store.add_record(record)
    return store


def digests(path, change=None):
    """The rows of digests, after a statement."""
    with sqlite3.connect(path) as connection:
        if change:
            connection.execute(change)
        return connection.execute("SELECT record_id, version, content FROM digests ORDER BY record_id").fetchall()


MADE_AGAIN = {
    "as written": "SELECT 1",
    "missing": "DELETE FROM digests",
    "of another version": "UPDATE digests SET version = version - 1, content = '{}'",
    "of another record": "UPDATE digests SET fingerprint = 'x', content = '{}'",
    "damaged": "UPDATE digests SET content = substr(content, 1, 99)",
}


@pytest.mark.parametrize("case", MADE_AGAIN)
def test_what_is_shown_is_the_same_with_and_without_digests(tmp_path, case):
    records = [make_record("undefended"), make_record("public", "public_only", utility=0.4, leakage=0.0)]
    records += [make_record(f"dp {n}", "dp_sgd", settings={"n": n}, utility=0.6 + n / 3, leakage=n / 7) for n in range(4)]
    store = stored(tmp_path, *records)
    written = digests(tmp_path / "s.sqlite")
    assert len(written) == len(records)
    digests(tmp_path / "s.sqlite", MADE_AGAIN[case])
    board, direct = Library(store, tmp_path).board(), build(records)
    pd.testing.assert_frame_equal(board.frame, direct.frame, check_exact=True)
    assert board.problems == ()
    assert board.attacks == direct.attacks
    assert digests(tmp_path / "s.sqlite") == written, "kept again"


def test_a_withdrawn_record_says_so_whatever_its_digest_says(tmp_path):
    store = stored(tmp_path, make_record())
    digests(tmp_path / "s.sqlite", "UPDATE records SET withdrawn = '2026-01-02T00:00:00'")
    (entry,) = Library(store, tmp_path).board().entries.values()
    assert "withdrawn by its team on 2026-01-02" in entry.reasons


def test_a_file_is_read_once_for_all_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path / "home"))
    folder = tmp_path / "records"
    folder.mkdir()
    records = [make_record(), make_record("b", settings={"x": 1})]
    (folder / "one.json").write_text(f"[{','.join(record.model_dump_json() for record in records)}]")
    first = Library(Store(tmp_path / "s.sqlite"), folder)
    shown = first.board().frame
    monkeypatch.setattr(library_module, "_read", None)
    second = Library(Store(tmp_path / "s.sqlite"), folder)
    pd.testing.assert_frame_equal(second.board().frame, shown, check_exact=True)
    names = {second.record(entry.runs[0]).card.name for entry in second.board().entries.values()}
    assert names == {record.card.name for record in records}


@pytest.mark.parametrize("unranked", [(), ("120 of 360 reconstructions were made",)])
def test_an_inversion_beside_a_file_is_shown_and_noticed_when_it_comes(tmp_path, unranked):
    record = make_record()
    (tmp_path / "one.json").write_text(record.model_dump_json())
    url = str(tmp_path / "store.sqlite")
    assert load(url, tmp_path).frame["inversion"].isna().all()
    leakage = Metric(value=0.12, low=0.05, high=0.2, n=60)
    found = InversionRecord(results=(), judges=(), leakage=leakage, leakage_attack="bn_guided", unranked=unranked)
    file = beside.InversionFile(
        submission_id=record.provenance.submission_id,
        track=record.track,
        protocol_version=record.protocol_version,
        inversion=found,
        attacks={},
    )
    beside.write(tmp_path, file)
    board = load(url, tmp_path)
    (row,) = board.frame.to_dict("records")
    assert (row["inversion"], row["inversion_n"], row["inversion_attack"]) == (0.12, 60, "bn_guided")
    assert (row["inversion_unranked"] or "") == "; ".join(unranked)
    assert ("Inversion" in measured(board.frame)) == (not unranked)  # what is not ranked is compared with nothing
    (entry,) = board.entries.values()
    assert library(url, tmp_path).record(entry.runs[0]).inversion == found


def test_a_process_learns_of_every_board_that_was_made_anew(tmp_path, monkeypatch):
    told: list[int] = []
    monkeypatch.setattr(library_module, "after_building", [lambda: told.append(len(told))])
    url = str(tmp_path / "store.sqlite")
    load(url, tmp_path)
    load(url, tmp_path)
    assert told == [0]
    Store(url).add_record(make_record())
    load(url, tmp_path)
    assert told == [0, 1]
    assert load(url, tmp_path).once("x", lambda: told.copy()) is load(url, tmp_path).once("x", list)
