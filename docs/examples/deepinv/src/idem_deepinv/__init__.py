"""Samplers of deepinv as solvers of idem, with the codec as their physics."""
