"""Differentially private training: clipped gradients per unit, the noisy loop, and what its defences share."""
