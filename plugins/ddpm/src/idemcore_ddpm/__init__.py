"""Diffusion priors for idem: a bundled one for photographs, its training recipe, and the networks of ADM."""
