"""Metrics of a configuration over images, and rate curves."""
