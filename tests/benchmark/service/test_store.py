"""The store: nothing lost, nothing doubled, across threads and processes; failures say what to do."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from record_factory import make_record
from sqlalchemy import create_engine, text

from benchmark.runtime import home
from benchmark.service.database import (
    MIGRATIONS,
    Database,
    StoreDamagedError,
    StoreError,
    StoreLockedError,
    StoreVanishedError,
    StoreVersionError,
    url_of,
)
from benchmark.service.record_rows import to_row
from benchmark.service.store import Outcome, RecordFileError, Store, UnknownRecordError, record_id
from benchmark.service.tables import Base, RecordRow
from benchmark.submissions.report import Flag


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def test_a_record_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    record = make_record()
    assert store.add_record(record) is Outcome.ADDED
    assert Store(tmp_path / "store.sqlite").records() == [record]
    assert store.record(record.provenance.submission_id) == record


def test_adding_again_changes_nothing(store: Store) -> None:
    record = make_record()
    store.add_record(record)
    version = store.version()
    later = make_record(created="2026-05-05T00:00:00+00:00")
    assert store.add_record(record) is Outcome.UNCHANGED
    assert store.add_record(later) is Outcome.UNCHANGED, "dates and costs are no difference"
    assert store.version() == version
    assert len(store.records()) == 1


def test_the_newer_of_two_evaluations_stays(store: Store) -> None:
    # 03:00 at +02:00 is earlier than 02:00 UTC although its text sorts behind it
    older = make_record(created="2026-01-01T03:00:00+02:00")
    newer = make_record(created="2026-01-01T02:00:00+00:00", photos=1200)
    assert record_id(older) == record_id(newer)
    assert store.add_record(older) is Outcome.ADDED
    assert store.add_record(newer) is Outcome.REPLACED
    assert store.add_record(older) is Outcome.KEPT
    assert store.records() == [newer]


def test_a_partial_evaluation_never_takes_the_place_of_a_complete_one(store: Store) -> None:
    complete = make_record()
    partial = make_record(complete=False, created="2026-06-01T00:00:00+00:00")
    store.add_record(complete)
    assert store.add_record(partial) is Outcome.KEPT
    assert store.records() == [complete]


@pytest.mark.parametrize(
    "difference",
    [{"track": "synthetic-64"}, {"protocol_version": "0.0"}, {"split": "split-1"}, {"board": "weights"}, {"seed": 1}],
)
def test_other_evaluations_stand_beside(store: Store, difference: dict[str, str]) -> None:
    store.add_record(make_record())
    assert store.add_record(make_record(**difference)) is Outcome.ADDED
    assert len(store.records()) == 2


def test_the_same_weights_from_another_team_do_not_replace_a_record(store: Store) -> None:
    mine = make_record(team="first")
    theirs = make_record(team="second")
    theirs = theirs.model_copy(update={"provenance": mine.provenance})
    store.add_record(mine)
    assert store.add_record(theirs) is Outcome.ADDED
    assert {record.card.team for record in store.records()} == {"first", "second"}


def test_records_are_found_by_track_submission_and_board(store: Store) -> None:
    verified, weights = make_record(), make_record(board="weights", created="2026-02-02T00:00:00+00:00")
    other = make_record(name="other", track="synthetic-64")
    for record in (verified, weights, other):
        store.add_record(record)
    assert store.records("synthetic-64") == [other]
    assert store.records("nowhere") == []
    name = verified.provenance.submission_id
    assert store.record(name) == weights, "the newest"
    assert store.record(name, board="verified") == verified
    with pytest.raises(UnknownRecordError, match="synthetic-64"):
        store.record(name, track="synthetic-64")


def test_the_version_grows_with_each_change(store: Store) -> None:
    assert store.version() == 0
    for seed in range(3):
        store.add_record(make_record(seed=seed))
    assert store.version() == 3


def test_export_and_import_are_inverse(store: Store, tmp_path: Path) -> None:
    records = [make_record(seed=seed) for seed in range(3)]
    for record in records:
        store.add_record(record)
    (tmp_path / "all.json").write_text(store.export("json"))
    copy = Store(tmp_path / "copy.sqlite")
    assert copy.import_records(tmp_path / "all.json") == {Outcome.ADDED: 3}
    assert copy.import_records([tmp_path / "all.json"]) == {Outcome.UNCHANGED: 3}
    assert copy.records() == store.records() == sorted(records, key=record_id)
    assert store.export("csv").count("\r\n") == 4
    with pytest.raises(StoreError, match="json, csv"):
        store.export("xml")  # type: ignore[arg-type]


def test_a_folder_of_files_is_imported(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    for seed in range(2):
        (folder / f"{seed}.json").write_text(make_record(seed=seed).model_dump_json())
    (folder / "readme.txt").write_text("not a record")
    assert store.import_records(folder) == {Outcome.ADDED: 2}


def test_a_folder_without_records_is_named(store: Store, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(RecordFileError, match="photos holds no files of records"):
        store.import_records(tmp_path / "photos")


def test_an_import_is_all_or_nothing_and_names_every_bad_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(make_record().model_dump_json())
    (tmp_path / "cut.json").write_text(make_record().model_dump_json()[:100])
    (tmp_path / "wrong.json").write_text(json.dumps({"schema_version": 1}))
    with pytest.raises(RecordFileError, match=r"cut\.json: not JSON.*wrong\.json: protocol_version: Field required"):
        store.import_records([tmp_path / "good.json", tmp_path / "cut.json", tmp_path / "wrong.json"])
    with pytest.raises(RecordFileError, match="No such file"):
        store.import_records(tmp_path / "absent.json")
    assert store.records() == []


@pytest.mark.parametrize(
    ("record", "said"),
    [(make_record(utility=float("nan")), "NaN, perhaps"), (make_record(created="yesterday"), "ISO 8601")],
)
def test_what_could_not_be_read_back_is_not_stored(store: Store, record, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        store.add_record(record)
    assert store.records() == []
    assert store.version() == 0


def _add_some(path: Path, worker: int, barrier) -> None:
    barrier.wait()  # all create the store at the same moment
    store = Store(path)
    for seed in range(6):
        store.add_record(make_record(name="shared", seed=seed))
        store.add_record(make_record(name=f"of {worker}", seed=seed))


def test_processes_that_create_and_write_one_store_lose_and_double_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    workers = [context.Process(target=_add_some, args=(tmp_path / "s.sqlite", n, barrier)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    store = Store(tmp_path / "s.sqlite")
    assert len(store.records()) == 6 + 4 * 6 == store.version()


def test_threads_share_one_store(store: Store) -> None:
    records = [make_record(seed=seed) for seed in range(12)]
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(store.add_record, [*records, *records]))
        reads = list(pool.map(lambda _: len(store.records()), range(8)))
    assert outcomes.count(Outcome.ADDED) == 12
    assert outcomes.count(Outcome.UNCHANGED) == 12
    assert reads == [12] * 8


def _killed(path: Path) -> None:
    database = Database(path)
    with database.session() as session:
        from benchmark.service.record_rows import add_row, to_row

        record = make_record(name="half")
        add_row(session, to_row(record), record.provenance.weights_sha256)
        session.flush()
        os._exit(9)  # as kill -9: no rollback, no close


def test_a_writer_killed_in_the_middle_leaves_no_trace(store: Store, tmp_path: Path) -> None:
    store.add_record(make_record())
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(tmp_path / "store.sqlite",))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert store.records() == [make_record()]
    assert store.version() == 1
    assert store.add_record(make_record(name="half")) is Outcome.ADDED


def test_a_locked_store_says_so_and_readers_are_not_stopped(store: Store, tmp_path: Path) -> None:
    store.add_record(make_record())
    hasty = Store(tmp_path / "store.sqlite", busy_seconds=0.05)
    other = sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLockedError, match="locked by another process"):
        hasty.add_record(make_record(seed=1))
    assert len(hasty.records()) == 1
    other.execute("ROLLBACK")
    assert hasty.add_record(make_record(seed=1)) is Outcome.ADDED


def test_a_full_disk_loses_nothing(store: Store) -> None:
    store.add_record(make_record())
    with store._database._engine.connect() as connection:  # the pool hands the same connection out again
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreError, match="disk is full"):
        store.add_record(make_record(seed=1))
    assert store.records() == [make_record()]
    assert store.version() == 1


def test_a_writer_waits_for_another(store: Store, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    timer.start()
    assert store.add_record(make_record()) is Outcome.ADDED
    timer.join()


def test_a_store_that_vanished_is_noticed(store: Store, tmp_path: Path) -> None:
    store.add_record(make_record())
    for file in tmp_path.glob("store.sqlite*"):
        file.unlink()
    with pytest.raises(StoreVanishedError, match="removed"):
        store.add_record(make_record(seed=1))
    with pytest.raises(StoreVanishedError, match="removed"):
        store.records()


def test_a_restored_backup_is_taken_up_without_a_restart(store: Store, tmp_path: Path) -> None:
    store.add_record(make_record())
    backup = Store(tmp_path / "backup.sqlite")
    backup.import_records(_exported(store, tmp_path))
    backup.add_record(make_record(seed=1))
    backup.close()
    for file in tmp_path.glob("store.sqlite-*"):
        file.unlink()
    shutil.move(tmp_path / "backup.sqlite", tmp_path / "store.sqlite")
    assert len(store.records()) == 2


def _exported(store: Store, folder: Path) -> Path:
    (folder / "out.json").write_text(store.export("json"))
    return folder / "out.json"


def test_files_that_are_no_store_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("hello, this is not a database at all" * 100)
    with pytest.raises(StoreDamagedError, match="not a database"):
        Store(tmp_path / "text.sqlite")
    with pytest.raises(StoreVanishedError, match="cannot be opened"):
        Store(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        Store(tmp_path / "file" / "store.sqlite")


def test_a_store_of_a_newer_program_is_refused_unchanged(store: Store, tmp_path: Path) -> None:
    store.close()
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreVersionError, match="newer FaceVeil"):
        Store(tmp_path / "store.sqlite")


def test_a_record_of_another_format_is_named(store: Store, tmp_path: Path) -> None:
    store.add_record(make_record())
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        connection.execute("""UPDATE records SET payload = replace(payload, '"schema_version":1', '"schema_version":2')""")
    told: list[str] = []
    assert store.records(unreadable=told.append) == []
    assert "schema_version" in told[0]
    with pytest.raises(StoreVersionError, match="schema_version"):
        store.record_named(record_id(make_record()))


@pytest.mark.parametrize("column", ["payload", "summary"])
def test_a_bit_that_flips_in_a_row_costs_that_record_alone(store: Store, tmp_path: Path, column: str) -> None:
    """What is no UTF-8 any more failed every query that met it: 503 for all."""
    for name in ("one", "two", "three"):
        store.add_record(make_record(name, settings={"name": name}))
    broken = record_id(make_record("two", settings={"name": "two"}))
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        statement = f"UPDATE records SET {column} = CAST(CAST({column} AS BLOB) || x'ff' AS TEXT) WHERE id = ?"
        connection.execute(statement, (broken,))
    told: list[str] = []
    assert len(store.records(unreadable=told.append)) + len(told) == 3
    assert len(told) == (column == "payload")
    assert len(store.index()) == (2 if column == "summary" else 3)
    assert len(store.fingerprints()) == 3
    assert len(json.loads(store.export("json"))) == 3 - len(told)


def test_the_migrations_make_the_tables_of_the_code(store: Store, tmp_path: Path) -> None:
    with create_engine(url_of(tmp_path / "store.sqlite")).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_urls_of_other_databases() -> None:
    assert url_of("postgresql://u:p@host/db").drivername == "postgresql+psycopg"
    assert url_of("postgres://u:p@host/db").drivername == "postgresql+psycopg"
    with pytest.raises(StoreError, match="not a database URL"):
        url_of("://")
    with pytest.raises(StoreError, match="no such kind of database"):
        Store("nosuch://host/db")


def test_home_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path / "deep" / "home"))
    assert home.cache_dir() == tmp_path / "deep" / "home" / "cache"
    assert home.runs_dir().is_dir()
    Store().add_record(make_record())
    assert len(Store(tmp_path / "deep" / "home" / "store.sqlite").records()) == 1
    monkeypatch.delenv("FACEVEIL_HOME")
    assert home.home() == Path.home() / ".faceveil"


def test_a_store_of_the_first_release_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    records = [make_record(flags=(Flag(name="odd", severity="info", reason="x"),)), make_record("none", headline=False)]
    new = Store(tmp_path / "new.sqlite")
    with create_engine(url_of(path)).begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for record in records:
            new.add_record(record)
            row = to_row(record)
            values = {name: getattr(row, name) for name in set(RecordRow.__table__.columns.keys()) - {"summary", "withdrawn"}}
            insert_submission = text("INSERT INTO submissions VALUES (:id, 'w')")
            connection.execute(insert_submission, {"id": row.submission_id})
            names = ", ".join(values)
            marks = ", ".join(f":{name}" for name in values)
            connection.execute(text(f"INSERT INTO records ({names}) VALUES ({marks})"), values)
    old = Store(path)
    assert old.records() == new.records()
    assert old.index() == new.index()
    assert old.index()[0].summary.flags or old.index()[1].summary.flags
    with create_engine(url_of(path)).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
