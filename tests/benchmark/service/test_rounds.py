from __future__ import annotations

import hashlib

import pytest

from benchmark.service.database import StoreError
from benchmark.service.store import Store

SECRET = bytes(range(32))
NAME = hashlib.sha256(SECRET).hexdigest()


def test_a_round_is_published_by_its_hash_and_revealed_once(tmp_path):
    store = Store(tmp_path / "store.sqlite")
    with pytest.raises(StoreError, match="no round of that secret was published"):
        store.rounds.reveal(SECRET)
    before = store.version()
    opened = store.rounds.publish(NAME)
    assert (opened.secret, opened.revealed) == (None, None)
    assert store.version() > before, "readers with an ETag are told"
    assert store.rounds.publish(NAME) == opened, "its date stays"
    revealed = store.rounds.reveal(SECRET)
    assert revealed.secret == SECRET.hex()
    assert revealed.opened == opened.opened
    assert store.rounds.reveal(SECRET) == revealed
    assert Store(tmp_path / "store.sqlite").rounds.all() == [revealed]


def test_rounds_are_in_a_backup(tmp_path):
    store = Store(tmp_path / "store.sqlite")
    store.rounds.publish(NAME)
    assert store.backup(tmp_path / "file.backup")["rounds"] == 1
