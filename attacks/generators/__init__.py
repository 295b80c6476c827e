"""Face generators: the prior of inversion attacks, trained on public (auxiliary) faces."""
