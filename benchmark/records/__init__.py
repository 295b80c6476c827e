"""What an evaluation leaves: the Record and its parts, exports, and the ranking of records."""
