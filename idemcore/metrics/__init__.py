"""Distances between sets of images, for benchmarks."""
