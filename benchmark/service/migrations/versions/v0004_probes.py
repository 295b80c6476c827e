"""Signatures by which near copies are known again; records that an operator removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "probes",
        sa.Column("job_id", sa.String(16), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("signature", sa.Text, nullable=False),
        sa.Column("configuration", sa.String(64), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "removals",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("moment", sa.String(40), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("team", sa.String(80), nullable=False),
        sa.Column("track", sa.String(80), nullable=False),
        sa.Column("board", sa.String(16), nullable=False),
        sa.Column("submission_id", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("removals")
    op.drop_table("probes")
