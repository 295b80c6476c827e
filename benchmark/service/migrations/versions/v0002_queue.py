"""Teams, jobs and their logs; summaries of records, and which of them were withdrawn."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    meta = sa.table("meta", sa.column("key"), sa.column("value"))
    op.bulk_insert(meta, [{"key": "queue", "value": 0}, {"key": "intake", "value": 0}])
    with op.batch_alter_table("records") as records:
        records.add_column(sa.Column("summary", sa.Text, nullable=False, server_default="{}"))
        records.add_column(sa.Column("withdrawn", sa.String(40)))
    _fill_summaries()
    with op.batch_alter_table("records") as records:
        records.alter_column("summary", server_default=None)
    _create_tables()


def _fill_summaries() -> None:
    records = sa.table("records", sa.column("id"), sa.column("payload"), sa.column("summary"))
    connection = op.get_bind()
    for name in connection.scalars(sa.select(records.c.id)).all():
        payload = connection.execute(sa.select(records.c.payload).where(records.c.id == name)).scalar_one()
        summary = json.dumps(_summary(json.loads(payload)))
        connection.execute(sa.update(records).where(records.c.id == name).values(summary=summary))


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    """As version 0002 of the schema kept it."""
    card, headline = record["card"], record.get("headline")
    axes = {}
    for axis in ("utility", "leakage"):
        metric = (headline or {}).get(axis) or {}
        axes[axis] = [metric.get(part) for part in ("value", "low", "high", "n")]
    return {
        "name": card["name"],
        "team": card.get("team", "anonymous"),
        "defenses": [d["name"] for d in card["defenses"]],
        "seed": card.get("seed", 0),
        **axes,
        "leakage_attack": (headline or {}).get("leakage_attack", ""),
        "unranked": list(record.get("unranked", ())),
        "flags": [flag["name"] for flag in record.get("flags", ())],
    }


def _create_tables() -> None:
    op.create_table(
        "teams",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("key", sa.String(60), nullable=False, unique=True),
        sa.Column("token_sha256", sa.String(64), unique=True),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("revoked", sa.String(40)),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("team_id", sa.Integer, sa.ForeignKey("teams.id"), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("updated", sa.String(40), nullable=False),
        sa.Column("queued", sa.String(40)),
        sa.Column("consent", sa.String(40)),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64)),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("track", sa.String(80), nullable=False),
        sa.Column("licence", sa.String(200), nullable=False),
        sa.Column("submission_id", sa.String(64)),
        sa.Column("weights_sha256", sa.String(64)),
        sa.Column("problems", sa.Text, nullable=False),
        sa.Column("flags", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("worker", sa.String(80), nullable=False),
        sa.Column("lease_until", sa.Float),
        sa.Column("record_id", sa.String(64)),
    )
    op.create_index("ix_jobs_state", "jobs", ["state", "queued"])
    op.create_index("ix_jobs_team", "jobs", ["team_id", "created"])
    op.create_index("ix_jobs_weights_sha256", "jobs", ["weights_sha256"])
    op.create_table(
        "job_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("job_id", sa.String(16), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("moment", sa.String(40), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("text", sa.String(500), nullable=False),
    )
    op.create_index("ix_job_events_job_id", "job_events", ["job_id"])


def downgrade() -> None:
    for table in ("job_events", "jobs", "teams"):
        op.drop_table(table)
    with op.batch_alter_table("records") as records:
        records.drop_column("withdrawn")
        records.drop_column("summary")
    meta = sa.table("meta", sa.column("key"), sa.column("value"))
    op.get_bind().execute(sa.delete(meta).where(meta.c.key.in_(("queue", "intake"))))
