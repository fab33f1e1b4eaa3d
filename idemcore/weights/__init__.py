"""Weights of networks: where they are, whether they are sound, and how they get here."""
