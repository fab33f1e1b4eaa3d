"""Hyperprior codecs for idem, on CompressAI's networks."""
