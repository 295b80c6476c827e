"""How fast the board answers: made-up records, simulated readers."""
