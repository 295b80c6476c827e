"""Membership inference of one target: evidence, scores of attacks, the blind gate and the headline."""
