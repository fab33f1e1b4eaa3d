"""For authors of learned codecs: bitstreams, quantisation cells and training of any hyperprior-type network.

`model.LatentModel` is what a plugin writes; `encoder.LearnedEncoder` makes an Encoder of it.
"""
