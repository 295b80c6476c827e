"""The entries of a board in memory, as data frames."""
