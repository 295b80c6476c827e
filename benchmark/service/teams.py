"""Teams, and the tokens with which they submit.

A token is 32 random bytes: it cannot be guessed, so a plain sha256 of it is kept and no slow hash is needed.  It is shown once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from benchmark.service.database import Database, StoreError
from benchmark.service.tables import QUEUE, JobRow, Meta, TeamRow

LOCAL = "local"  # submits at the evaluator's own keyboard, without a token
PREFIX = "fvt_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,58}[A-Za-z0-9]|[A-Za-z0-9]")


class TeamError(StoreError):
    """A team's name cannot be used, is taken, or is unknown."""


class TokenError(StoreError):
    """The token is nobody's, or was revoked."""


class Team(BaseModel):
    """A team; ``submissions`` counts those that were queued, whatever became of them, ``published`` those with a record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    name: str
    created: str
    revoked: str | None = None
    submissions: int = 0
    published: int = 0


class Teams:
    """The teams of a store (:attr:`benchmark.service.store.Store.teams`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str) -> str:
        """Makes a team and returns its token, which cannot be shown again; a revoked team gets a new one.

        Names are plain ASCII, so that no two look alike on the board.

        Raises:
            TeamError: the name cannot be used, or is another team's.
        """
        if not _NAME.fullmatch(name) or name.casefold() == LOCAL:
            raise TeamError(
                f"{name[:80]!a} cannot be a team's name: 1 to 60 of A-Z, a-z, 0-9, space, dot, hyphen and underscore, "
                f"beginning and ending with a letter or digit, and not {LOCAL!r}."
            )
        token = PREFIX + secrets.token_urlsafe(32)
        with self._database.session(write=True) as session:
            row = _by_name(session, name)
            if row is not None and row.revoked is None:
                raise TeamError(f"team {row.name!r} exists. Its token cannot be shown again: revoke it and add it anew.")
            if row is None:
                row = TeamRow(name=name, key=name.casefold(), created=_now())
                session.add(row)
            row.token_sha256, row.revoked = _digest(token), None
            _count_change(session)
        return token

    def revoke(self, name: str) -> Team:
        """Makes a team's token invalid; its submissions stay.

        Raises:
            TeamError: no such team, or it is revoked already.
        """
        with self._database.session(write=True) as session:
            row = _by_name(session, name)
            if row is None or row.token_sha256 is None:
                known = session.scalars(select(TeamRow.name).where(TeamRow.token_sha256.is_not(None)).order_by(TeamRow.key))
                names = ", ".join(known) or "none"
                raise TeamError(f"no team {name[:80]!a} holds a token. Those that do: {names}.")
            row.token_sha256, row.revoked = None, _now()
            _count_change(session)
            return _team(row)

    def authenticate(self, token: str) -> Team:
        """The team that holds a token.

        Raises:
            TokenError: none does.
        """
        with self._database.session() as session:
            row = session.scalars(select(TeamRow).where(TeamRow.token_sha256 == _digest(token))).first()
            if row is None:
                raise TokenError("this token is no team's: it is mistyped, or was revoked. Ask the evaluator for a new one.")
            return _team(row)

    def local(self) -> Team:
        """The team of submissions without a token, on the evaluator's own machine."""
        with self._database.session(write=True) as session:
            row = _by_name(session, LOCAL)
            if row is None:
                row = TeamRow(name=LOCAL, key=LOCAL, created=_now())
                session.add(row)
                session.flush()
            return _team(row)

    def all(self) -> list[Team]:
        """Every team, by name, with its counts."""
        counted = (
            select(
                JobRow.team_id,
                func.count(JobRow.queued).label("submissions"),
                func.count(JobRow.record_id).label("published"),
            )
            .group_by(JobRow.team_id)
            .subquery()
        )
        query = select(TeamRow, counted.c.submissions, counted.c.published).outerjoin(counted, counted.c.team_id == TeamRow.id)
        with self._database.session() as session:
            return [_team(row, n or 0, m or 0) for row, n, m in session.execute(query.order_by(TeamRow.key))]


def _by_name(session: Session, name: str) -> TeamRow | None:
    return session.scalars(select(TeamRow).where(TeamRow.key == name.casefold()).with_for_update()).first()


def _count_change(session: Session) -> None:
    session.flush()
    session.execute(update(Meta).where(Meta.key == QUEUE).values(value=Meta.value + 1))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _team(row: TeamRow, submissions: int = 0, published: int = 0) -> Team:
    return Team(
        id=row.id, name=row.name, created=row.created, revoked=row.revoked, submissions=submissions, published=published
    )
