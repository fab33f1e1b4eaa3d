"""A prior for idem: images as one Gaussian, with its exact denoiser."""
