"""StyleGAN2 priors for idem: published networks of faces, and a recipe that trains small ones."""
