"""Rounds: hashes of the evaluator's secrets, and the secrets once they are revealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "rounds",
        sa.Column("secret_sha256", sa.String(64), primary_key=True),
        sa.Column("opened", sa.String(40), nullable=False),
        sa.Column("secret", sa.Text, nullable=True),
        sa.Column("revealed", sa.String(40), nullable=True),
    )


def downgrade() -> None:
    op.drop_table("rounds")
