"""A package for chaiNNer: copy this folder into `backend/src/packages` of chaiNNer, which imports it by itself."""

from __future__ import annotations

from pathlib import Path

from api import add_package
from nodes.properties.inputs import FileInput, ImageInput, SeedInput, SliderInput
from nodes.properties.outputs import ImageOutput

from .functions import Array, made_exact, restored

FILE = {"file_kind": "image", "filetypes": [".jpg", ".jpeg", ".idem"]}

package = add_package(__file__, name="idem", dependencies=[])
category = package.add_category(
    name="idem", description="JPEGs restored, exactly.", icon="MdAutoFixHigh", color="#0b5cad"
)
group = category.add_node_group("JPEG")


@group.register(
    schema_id="idem:jpeg:restore",
    name="Restore JPEG",
    description="Draws a natural picture that re-encodes to the very same JPEG.",
    icon="MdAutoFixHigh",
    inputs=[
        FileInput("JPEG", **FILE),
        SeedInput(),
        SliderInput("Naturalness", minimum=0, maximum=100, default=100, unit="%"),
    ],
    outputs=[ImageOutput(channels=3)],
)
def restore_jpeg_node(path: Path, seed: int, naturalness: int) -> Array:
    return restored(path, int(seed), naturalness)


@group.register(
    schema_id="idem:jpeg:make_exact",
    name="Make Exact",
    description="Moves an image, as little as possible, until it re-encodes to the JPEG.",
    icon="MdVerified",
    inputs=[ImageInput(channels=[1, 3, 4]), FileInput("JPEG", **FILE)],
    outputs=[ImageOutput(channels=3)],
)
def make_exact_node(img: Array, path: Path) -> Array:
    return made_exact(img, path)
