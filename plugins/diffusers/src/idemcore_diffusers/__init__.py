"""Pixel-space models of diffusers as priors of idem."""
