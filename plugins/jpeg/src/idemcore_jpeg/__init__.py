"""JPEG as a codec of idem: encode, decode, and the quantisation cell of any baseline or progressive file."""
