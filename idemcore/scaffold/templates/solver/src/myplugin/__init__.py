"""A solver for idem: denoise, project on the cell, add noise again."""
