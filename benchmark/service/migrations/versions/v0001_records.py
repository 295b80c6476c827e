"""Submissions, their records, and the counter of changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "meta",
        sa.Column("key", sa.String(40), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(sa.table("meta", sa.column("key"), sa.column("value")), [{"key": "changes", "value": 0}])
    op.create_table(
        "submissions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("weights_sha256", sa.String(64), nullable=False),
    )
    op.create_index("ix_submissions_weights_sha256", "submissions", ["weights_sha256"])
    op.create_table(
        "records",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("submission_id", sa.String(64), sa.ForeignKey("submissions.id"), nullable=False),
        sa.Column("track", sa.String(80), nullable=False),
        sa.Column("protocol_version", sa.String(80), nullable=False),
        sa.Column("split_digest", sa.String(64), nullable=False),
        sa.Column("board", sa.String(16), nullable=False),
        sa.Column("configuration", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("complete", sa.Boolean, nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.UniqueConstraint(
            "submission_id",
            "track",
            "protocol_version",
            "split_digest",
            "board",
            "configuration",
            name="uq_records_evaluation",
        ),
    )
    op.create_index("ix_records_track", "records", ["track", "created"])


def downgrade() -> None:
    op.drop_table("records")
    op.drop_table("submissions")
    op.drop_table("meta")
