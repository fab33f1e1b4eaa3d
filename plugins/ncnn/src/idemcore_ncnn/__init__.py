"""Restorers in ncnn format for idem."""
