"""The leaderboard: pages and API over records.  Needs no torch."""
