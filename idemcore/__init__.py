"""idem: decodes bitstreams into natural images that re-encode to the very same bytes.

    import idemcore as idem

    photo = idem.decode("old.jpg")                          # a Picture: .image .exact .certificate .save(png)
    codec = idem.load_codec("elic", quality=2)              # names or objects of your own, everywhere
    decoder = idem.load_decoder(generator="ddpm-photo", solver="cell", settings={"solver": {"steps": 8}})
    rows = idem.evaluate([codec], [decoder], "photos", metrics=["psnr"])      # pandas.DataFrame(rows)

What is not used is not loaded: this module alone imports no PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .front.coding import certify, decode, encode, open_bitstream, verify
    from .front.loading import available, load_codec, load_decoder
    from .front.registering import register
    from .front.sampling import sample
    from .front.studies import evaluate, sweep

__all__ = [
    "available",
    "certify",
    "decode",
    "encode",
    "evaluate",
    "load_codec",
    "load_decoder",
    "open_bitstream",
    "register",
    "sample",
    "sweep",
    "verify",
]

_WHERE = {
    "available": "front.loading",
    "certify": "front.coding",
    "decode": "front.coding",
    "encode": "front.coding",
    "evaluate": "front.studies",
    "load_codec": "front.loading",
    "load_decoder": "front.loading",
    "open_bitstream": "front.coding",
    "register": "front.registering",
    "sample": "front.sampling",
    "sweep": "front.studies",
    "verify": "front.coding",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for. Raises AttributeError for what is not there."""
    if name not in _WHERE:
        raise AttributeError(f"module 'idemcore' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
