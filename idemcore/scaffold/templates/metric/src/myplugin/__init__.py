"""A metric for idem: mean absolute error."""
