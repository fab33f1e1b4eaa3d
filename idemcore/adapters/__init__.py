"""Solvers of one family on generators of another."""
