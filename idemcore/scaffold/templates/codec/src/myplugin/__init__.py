"""A codec for idem: a block transform with a uniform quantiser."""
