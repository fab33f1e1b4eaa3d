"""Models of diffusers, of pixels and of latents, as priors of idem."""
