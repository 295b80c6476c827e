"""Canaries trained in on purpose, and the lower bounds on epsilon that they give."""
