"""Rounds of a board: whose secret's sha256 was published when, and which were revealed.

The secret itself stays in the evaluator's home (:mod:`benchmark.runtime.rounds`) until it is revealed: a store is read by all.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select, update

from benchmark.service.database import Database, StoreError
from benchmark.service.tables import CHANGES, Meta, RoundRow


class PublishedRound(BaseModel):
    """A round as everybody may see it; ``secret`` and ``revealed`` are None until it has ended."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)

    secret_sha256: str
    opened: str  # ISO 8601, UTC
    secret: str | None = None
    revealed: str | None = None


class Rounds:
    """The rounds of a store (:attr:`benchmark.service.store.Store.rounds`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def publish(self, secret_sha256: str) -> PublishedRound:
        """Publishes a round's name; one that stands there stays as it is, with its date."""
        with self._database.session(write=True) as session:
            row = session.get(RoundRow, secret_sha256)
            if row is None:
                row = RoundRow(secret_sha256=secret_sha256, opened=_now())
                session.add(row)
                session.execute(_CHANGED)
                session.flush()
            return PublishedRound.model_validate(row)

    def reveal(self, secret: bytes) -> PublishedRound:
        """Publishes a round's secret, which ends the round; it cannot be taken back.

        Raises:
            StoreError: no round of that secret was published here before.
        """
        with self._database.session(write=True) as session:
            row = session.get(RoundRow, hashlib.sha256(secret).hexdigest())
            if row is None:
                raise StoreError("no round of that secret was published in this store; `faceveil round list` shows its rounds.")
            if row.revealed is None:
                row.secret, row.revealed = secret.hex(), _now()
                session.execute(_CHANGED)
                session.flush()
            return PublishedRound.model_validate(row)

    def all(self) -> list[PublishedRound]:
        """Every round, the newest first."""
        with self._database.session() as session:
            rows = session.scalars(select(RoundRow).order_by(RoundRow.opened.desc(), RoundRow.secret_sha256))
            return [PublishedRound.model_validate(row) for row in rows]


_CHANGED = update(Meta).where(Meta.key == CHANGES).values(value=Meta.value + 1)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
