"""Attacks on headless face-recognition backbones.  Each is one file; imports ``benchmark`` only."""
