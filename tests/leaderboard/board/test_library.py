from __future__ import annotations

import pytest
from record_factory import make_record

from benchmark.service.store import Store, StoreError
from leaderboard.board import library as library_module
from leaderboard.board.library import build, library, load


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
    assert [p.split(":")[0] for p in board.problems] == ["a.json", "b.json"]


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
    summarise, rank_scope = library_module.summarise, library_module.rank_scope
    monkeypatch.setattr(library_module, "summarise", lambda r, s: (read.append(r.card.name), summarise(r, s))[1])
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
