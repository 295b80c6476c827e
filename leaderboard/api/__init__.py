"""The HTTP API over records and the queue."""
