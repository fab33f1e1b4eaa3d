"""Solvers of idem for restorers."""
