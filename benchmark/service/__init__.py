"""Submissions from upload to record: the database, the queue, and who works through it."""
