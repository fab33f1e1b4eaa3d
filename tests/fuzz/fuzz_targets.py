"""All fuzzing targets by name."""

from __future__ import annotations

from functools import partial

from fuzz_codecs import container, images, jpeg, jpeg_cell, latents, opened, png_checksums, sealed, zips
from fuzz_target import Target
from fuzz_texts import card, certificate, config, curve, overrides, plugin_metadata, plugin_records, store, sweep
from fuzz_weights import pytorch, pytorch_zip, safetensors, safetensors_header, stylegan

TARGETS: dict[str, Target] = {
    "container": Target(container, sealed),
    "jpeg": Target(jpeg),
    "jpeg-cell": Target(jpeg_cell),
    "toy": Target(partial(opened, "toy"), sealed),
    "latents": Target(latents),
    "elic": Target(partial(opened, "elic", quality=1), sealed),
    "hyperprior": Target(partial(opened, "hyperprior", quality=1), sealed),
    "image": Target(images, png_checksums),
    "zip": Target(zips),
    "safetensors": Target(safetensors, safetensors_header),
    "pytorch": Target(pytorch),
    "pytorch-zip": Target(pytorch_zip),
    "stylegan": Target(stylegan),
    "card": Target(card),
    "config": Target(config),
    "override": Target(overrides),
    "sweep": Target(sweep),
    "certificate": Target(certificate),
    "curve": Target(curve),
    "store": Target(store),
    "plugin-records": Target(plugin_records),
    "plugin-metadata": Target(plugin_metadata),
}
