"""Summaries say whether nothing was found, and how many backbones were targets."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    records = sa.table("records", sa.column("id"), sa.column("summary"))
    connection = op.get_bind()
    for name in connection.scalars(sa.select(records.c.id)).all():
        summary = json.loads(connection.execute(sa.select(records.c.summary).where(records.c.id == name)).scalar_one())
        summary = json.dumps({**summary, **_added(summary.get("leakage") or [None, None])})
        connection.execute(sa.update(records).where(records.c.id == name).values(summary=summary))


def _added(leakage: list[Any]) -> dict[str, Any]:
    """As version 0003 of the schema kept it: a leakage that is not significantly above 0 is nothing found."""
    value, low = leakage[:2]
    return {"nothing_found": value is not None and (value <= 0 or (low is not None and low <= 0)), "targets": 1}
