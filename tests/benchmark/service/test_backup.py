"""Backups: everything comes back, in either database; what is no backup, or would overwrite, is refused."""

from __future__ import annotations

import os
import random
import sqlite3
import zipfile
from pathlib import Path

import pytest
from card_factory import make_card
from record_factory import make_record

from benchmark.service.backup import BackupError, restore
from benchmark.service.database import StoreDamagedError, StoreError
from benchmark.service.jobs import State
from benchmark.service.store import Store
from benchmark.submissions.report import Report


def filled(location: str | Path) -> tuple[Store, str]:
    """A store with records, a team and jobs; and the team's token."""
    store = Store(location)
    for seed in range(3):
        store.add_record(make_record(seed=seed))
    token = store.teams.add("testers")
    team = store.teams.authenticate(token)
    for number in range(2):
        job = store.queue.open(team, 5)
        store.queue.received(job.id, 5, "ab" * 32)
        lease = store.leases.claim("w", (State.QUARANTINED,))
        store.leases.checked(
            lease, Report(path="x", submission_id=f"{number:064x}", weights_sha256=f"{number:064x}", card=make_card())
        )
        store.queue.enqueue(job.id, team)
    return store, token


@pytest.mark.parametrize(("source", "target"), [("sqlite", "sqlite"), ("sqlite", "postgresql"), ("postgresql", "sqlite")])
def test_everything_comes_back(tmp_path: Path, request: pytest.FixtureRequest, source: str, target: str) -> None:
    def location(kind: str, name: str) -> str:
        return request.getfixturevalue("postgres").database() if kind == "postgresql" else str(tmp_path / name)

    store, token = filled(location(source, "a.sqlite"))
    file = tmp_path / "backup.zip"
    counts = store.backup(file)
    assert counts["records"] == 3
    assert counts["jobs"] == 2
    assert token.encode() not in b"".join(zipfile.ZipFile(file).read(name) for name in zipfile.ZipFile(file).namelist())
    place = location(target, "b.sqlite")
    assert restore(place, file) == counts
    copy = Store(place)
    assert copy.records() == store.records()
    assert copy.queue.jobs() == store.queue.jobs()
    assert [copy.queue.log(job.id) for job in copy.queue.jobs()] == [store.queue.log(job.id) for job in store.queue.jobs()]
    assert (copy.version(), copy.queue.version()) == (store.version(), store.queue.version())
    lease = copy.leases.claim("after")  # and it goes on: new rows get new numbers
    assert copy.leases.publish(lease, make_record("later")).state == State.PUBLISHED
    assert copy.teams.authenticate(token).name == "testers"
    copy.teams.add("newcomers")
    for each in (copy, store):
        each.close()


def test_a_store_in_use_is_not_overwritten(tmp_path: Path) -> None:
    store, _ = filled(tmp_path / "a.sqlite")
    store.backup(tmp_path / "backup.zip")
    with pytest.raises(BackupError, match="holds rows"):
        restore(tmp_path / "a.sqlite", tmp_path / "backup.zip")
    assert len(store.records()) == 3


def test_what_is_no_backup_is_refused_and_nothing_is_restored(tmp_path: Path) -> None:
    store, _ = filled(tmp_path / "a.sqlite")
    file = tmp_path / "backup.zip"
    store.backup(file)
    for name, content in (("text", b"hello"), ("cut", file.read_bytes()[:-100])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BackupError, match="no backup"):
            restore(tmp_path / "b.sqlite", tmp_path / name)
    with pytest.raises(BackupError, match="No such file"):
        restore(tmp_path / "b.sqlite", tmp_path / "absent")
    shorter = tmp_path / "shorter.zip"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(shorter, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) if name != "records.jsonl" else old.read(name).splitlines()[0])
    with pytest.raises(BackupError, match="1 of 3"):
        restore(tmp_path / "b.sqlite", shorter)
    assert Store(tmp_path / "b.sqlite").records() == []


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_restore_takes_the_place_of_what_a_running_store_holds(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    """Moving a restored file over the old one left its log beside it, which SQLite then played into the new one."""
    location = request.getfixturevalue("postgres").database() if kind == "postgresql" else tmp_path / "a.sqlite"
    store, token = filled(location)
    store.backup(tmp_path / "backup.zip")
    before, version, records = store.queue.jobs(), store.version(), store.records()
    for number in range(30):
        store.add_record(make_record("later", settings={"n": number}))
    store.teams.add("newcomers")
    running = Store(location)  # another process, with the log open
    assert restore(location, tmp_path / "backup.zip", replace=True)["records"] == 3
    for each in (store, running):
        assert each.records() == records
        assert each.queue.jobs() == before
        assert each.teams.authenticate(token).name == "testers"
        assert each.version() > version + 30, "caches see the change"
    if kind == "sqlite":
        with sqlite3.connect(location) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    lease = store.leases.claim("after")
    assert running.leases.publish(lease, make_record("later")).state == State.PUBLISHED


def test_a_damaged_backup_leaves_a_store_in_use_as_it_is(tmp_path: Path) -> None:
    store, _ = filled(tmp_path / "a.sqlite")
    store.backup(tmp_path / "good.zip")
    good = (tmp_path / "good.zip").read_bytes()
    rng = random.Random(0)
    refused = 0
    for _ in range(50):
        spoilt = bytearray(good)
        spoilt[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        (tmp_path / "bad.zip").write_bytes(spoilt)
        try:
            restore(tmp_path / "a.sqlite", tmp_path / "bad.zip", replace=True)
        except StoreError:
            refused += 1
        assert len(store.records()) == 3
    assert refused > 33


def test_a_log_without_its_store_is_no_new_store(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite-wal").write_bytes(b"x" * 4096)
    with pytest.raises(StoreDamagedError, match="is not there, but its log"):
        Store(tmp_path / "a.sqlite")


def test_an_emptied_store_is_no_new_store(tmp_path: Path) -> None:
    filled(tmp_path / "a.sqlite")[0].close()
    (tmp_path / "a.sqlite").write_bytes(b"")
    with pytest.raises(StoreDamagedError, match="is empty"):
        Store(tmp_path / "a.sqlite")
    assert (tmp_path / "a.sqlite").stat().st_size == 0


def test_a_store_that_cannot_be_written_to_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = filled(tmp_path / "a.sqlite")
    records = store.records()
    store.close()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and allowed(path, mode))
    reader = Store(tmp_path / "a.sqlite")
    assert reader.records() == records
    assert reader.queue.jobs()
    with pytest.raises(StoreError, match="cannot be written"):
        reader.add_record(make_record("more"))
