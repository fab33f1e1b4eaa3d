"""Denoisers of diffusers as priors of idem."""
