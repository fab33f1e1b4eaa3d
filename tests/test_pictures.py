"""Images of a folder or a zip file, for recipes."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from idemcore.errors import IdemWarning, InputError, UsageError
from idemcore.io.image_sets import pictures, squares
from idemcore.training.crops import Crops


def png(width, height, colour):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {"b.png": png(20, 16, "red"), "in/a.PNG": png(16, 18, "blue"), "notes.txt": b"not an image"}


@pytest.fixture(params=["folder", "zip"])
def data(request, tmp_path):
    """The same files in a folder and in a zip file."""
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
            for name, content in FILES.items():
                archive.writestr(name, content)
        return tmp_path / "data.zip"
    for name, content in FILES.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "data"


def test_folders_and_zip_files_give_their_images_by_name(data):
    images = list(pictures(data))
    assert [tuple(image.shape) for image in images] == [(3, 16, 20), (3, 18, 16)]
    assert images[0][:, 0, 0].tolist() == [255, 0, 0]


def test_crops_are_drawn_from_a_zip_file_too(data):
    batch = Crops(data, 16).batch(30, 16, torch.Generator().manual_seed(0))
    assert {tuple(crop[:, 0, 0].tolist()) for crop in batch} == {(1.0, 0.0, 0.0), (0.0, 0.0, 1.0)}


def test_squares_are_the_middle_of_images_that_are_large_enough(tmp_path):
    columns = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (8, 1))
    Image.fromarray(np.stack([columns, columns, 0 * columns], -1)).save(tmp_path / "wide.png")
    Image.new("RGB", (8, 7)).save(tmp_path / "small.png")
    with pytest.warns(IdemWarning, match="left out: an image of 8x7 pixels"):  # a note, without a line of source
        images = squares(tmp_path, 8)
    assert images.shape == (1, 3, 8, 8)
    assert images[0, 0, 0].tolist() == list(range(80, 160, 10))
    with pytest.warns(UserWarning, match="left out"), pytest.raises(InputError, match="has 9 pixels or more a side"):
        squares(tmp_path, 9)


def test_squares_of_grey_images_have_one_channel(tmp_path):
    Image.new("L", (8, 8), 7).save(tmp_path / "a.png")
    Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / "b.png")
    assert squares(tmp_path, 4)[:, :, 0, 0].tolist() == [[7], [9]]
    Image.new("RGB", (8, 8), (9, 9, 10)).save(tmp_path / "c.png")
    assert squares(tmp_path, 4)[:, :, 0, 0].tolist() == [[7, 7, 7], [9, 9, 9], [9, 9, 10]]


@pytest.mark.parametrize("damage", [lambda whole: whole[:-30], lambda whole: whole.replace(b"\x89PNG", b"\x89PNX", 1)])
def test_a_damaged_zip_file_is_refused(damage, tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b.png", FILES["b.png"])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"data\.zip cannot be read"):
        list(pictures(path))


def test_data_without_images_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("notes.txt", "not an image")
    with pytest.raises(UsageError, match=r"holds no images. It has 1 file: 1 \.txt"):
        list(pictures(tmp_path / "data.zip"))
