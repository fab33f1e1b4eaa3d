"""Metrics of pyiqa for idem."""
