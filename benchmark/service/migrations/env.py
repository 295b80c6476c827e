"""Runs migrations on the connection, and in the transaction, that the store hands over."""

from __future__ import annotations

from alembic import context

from benchmark.service.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
