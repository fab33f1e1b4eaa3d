"""An analytic world for idem: a Gaussian-mixture source, its exact denoiser and a uniform scalar quantiser."""
