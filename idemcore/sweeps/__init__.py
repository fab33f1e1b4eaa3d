"""Sweeps: a grid of configurations over images, run by an engine into a store that can be killed and resumed."""
