"""Weight files of a learned codec: found by quality, known by model id, refused when they are not what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors.torch import save_file

from idemcore.errors import InputError, IntegrityError, MissingError, UsageError
from idemcore.learned.weights import ERROR_RATIO, Library, codec_file, model_id
from idemcore.weights import cards
from idemcore.weights import store as models
from idemcore.weights.checkpoints import read_safetensors

State = dict[str, torch.Tensor]


@pytest.fixture
def library(tmp_path: Path, make: SimpleNamespace) -> Library:
    """Bundled qualities 1 and 3; the card `demo` has published 0, 2 and 5."""
    bundled = tmp_path / "bundled"
    bundled.mkdir()
    for quality in (1, 3):
        data = codec_file(make.model(quality).state_dict(), "small", {"quality": str(quality)})
        (bundled / f"small-{quality}.safetensors").write_bytes(data)
    return Library("small", bundled, {"online": "demo"})


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where published weights are stored, empty; there is a card `demo` of qualities 0, 2 and 5."""
    registry = tmp_path / "registry" / "models"
    registry.mkdir(parents=True)
    card = {
        "name": "demo", "kind": "codec", "plugin": "idemcore-demo", "summary": "a demonstration",
        "adapter": "demo:adapt", "source": "demo.pth.tar", "page": "https://example.org/demo",
        "files": [{"id": f"demo-{quality}", "quality": quality} for quality in (0, 2, 5)],
    }  # fmt: skip
    (registry / "demo.yaml").write_text(yaml.safe_dump(card))
    monkeypatch.setattr(cards, "registry_folder", lambda: tmp_path / "registry")
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path / "cache"))
    cards._read_cards.cache_clear()
    models.cache_folder().mkdir(parents=True)
    yield models.cache_folder()
    cards._read_cards.cache_clear()


def store(cache: Path, state: State, quality: int) -> Path:
    """As `idem models import` leaves it: no quality in the file."""
    from idemcore.learned.weights import codec_metadata

    path = cache / f"demo-{quality}.safetensors"
    save_file(state, path, metadata={**codec_metadata(state, "small"), "id": path.stem})
    return path


def network(make: SimpleNamespace, path: Path, library: Library) -> tuple[torch.nn.Module, bytes]:
    return library.load(path, lambda state: make.model())[:2]


def test_the_model_id_is_of_names_shapes_and_values() -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(1)}
    known = model_id(state, "small")
    assert len(known) == 4
    assert model_id(dict(reversed(state.items())), "small") == known
    assert model_id({key: value.half() for key, value in state.items()}, "small") == known, "of the same values"
    others = [
        model_id(state, "smaller"),
        model_id({**state, "b": torch.tensor([1e-30])}, "small"),
        model_id({**state, "a": state["a"].reshape(3, 2)}, "small"),
        model_id({"c": state["a"], "b": state["b"]}, "small"),
        model_id({"a": state["a"]}, "small"),
    ]
    assert len({known, *others}) == 6


def test_a_file_holds_half_floats_and_says_whose_it_is(make: SimpleNamespace, tmp_path: Path) -> None:
    state = make.model().state_dict()
    (tmp_path / "w.safetensors").write_bytes(codec_file(state, "small", {"quality": "4", "lambda": "0.01"}))
    found, told = read_safetensors(tmp_path / "w.safetensors")
    assert {value.dtype for value in found.values()} == {torch.float16}
    assert all(torch.equal(found[key], value.half()) for key, value in state.items())
    assert told == {
        "quality": "4", "lambda": "0.01", "codec": "small", "model_id": model_id(found, "small").hex(),
    }  # fmt: skip


def test_bundled_weights_are_found_loaded_and_named(library: Library, make: SimpleNamespace) -> None:
    path = library.locate("bundled", 3)
    loaded, found = network(make, path, library)
    expected = make.model(3).state_dict()
    assert all(torch.equal(value, expected[key].half().float()) for key, value in loaded.state_dict().items())
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert found == model_id(read_safetensors(path)[0], "small")
    assert found != network(make, library.locate("bundled", 1), library)[1]


@pytest.mark.parametrize("quality", [0, 2, 4, -1])
def test_a_quality_that_there_is_not_names_those_that_there_are(library: Library, quality: int) -> None:
    with pytest.raises(UsageError, match=f"'bundled' have no quality {quality}") as caught:
        library.locate("bundled", quality)
    assert "1, 3" in caught.value.hint


def test_other_files_in_a_folder_do_not_matter(library: Library) -> None:
    for name in ("small-3-old.safetensors", "small-3b.safetensors", "small-.safetensors", "small-2.safetensors.part"):
        (library.bundled / name).write_bytes(b"")
    with pytest.raises(UsageError) as caught:
        library.locate("bundled", 2)
    assert caught.value.hint.endswith("1, 3.")


def test_a_folder_or_a_file_of_ones_own(library: Library, tmp_path: Path, make: SimpleNamespace) -> None:
    own = tmp_path / "own"
    own.mkdir()
    with pytest.raises(UsageError, match=rf"'{re.escape(str(own))}' have no quality 1") as caught:
        library.locate(str(own), 1)
    assert "none" in caught.value.hint
    path = own / "small-1.safetensors"
    path.write_bytes(codec_file(make.model(9).state_dict(), "small", {"quality": "1"}))
    assert library.locate(str(own), 1) == library.locate(str(path), 7) == path


def test_weights_that_are_nowhere_are_missing(library: Library, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no weights '/absent'") as caught:
        library.locate("/absent", 1)
    assert "bundled, online" in caught.value.hint
    assert "idem train small" in caught.value.hint


def test_published_weights_are_those_of_the_card(library: Library, cache: Path, make: SimpleNamespace) -> None:
    with pytest.raises(UsageError, match="'online' have no quality 1") as caught:
        library.locate("online", 1)
    assert "0, 2, 5" in caught.value.hint
    with pytest.raises(MissingError, match="'demo-5' are not here") as missing:
        library.locate("online", 5)
    assert "idem models import demo-5 FILE" in missing.value.hint
    path = store(cache, make.model().state_dict(), 5)
    assert library.locate("online", 5) == path
    assert network(make, path, library)[1] == model_id(make.model().state_dict(), "small")


def test_a_model_id_finds_its_weights_wherever_they_are(
    library: Library, cache: Path, tmp_path: Path, make: SimpleNamespace
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for quality in (2, 4):
        data = codec_file(make.model(10 + quality).state_dict(), "small", {"quality": str(quality)})
        (own / f"small-{quality}.safetensors").write_bytes(data)
    for quality in (0, 5):
        store(cache, make.model(20 + quality).state_dict(), quality)
    (cache / "demo-2.safetensors").write_bytes(b"damaged")
    known = [("bundled", 1), ("bundled", 3), ("online", 0), ("online", 5), (str(own), 2), (str(own), 4)]
    for weights, quality in known:
        wanted = network(make, library.locate(weights, quality), library)[1]
        found = library.identify(wanted, {"weights": str(own)})
        assert found is not None
        assert network(make, library.locate(found["weights"], found["quality"]), library)[1] == wanted
        if weights != str(own):
            assert library.identify(wanted, {}) == {"weights": weights, "quality": quality}
    assert library.identify(b"none", {"weights": str(own)}) is None
    assert library.identify(wanted, {}) is None, "a folder is only looked into when it is named"


def test_weights_of_another_codec_are_refused(library: Library, tmp_path: Path, make: SimpleNamespace) -> None:
    path = library.bundled / "small-2.safetensors"
    path.write_bytes(codec_file(make.model().state_dict(), "large", {"quality": "2"}))
    with pytest.raises(InputError, match=r"small-2\.safetensors holds no weights of the codec 'small'"):
        network(make, path, library)
    assert library.identify(model_id(read_safetensors(path)[0], "large"), {}) is None
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="no weights of the codec"):
        network(make, path, library)


def test_weights_that_changed_since_they_were_written_are_refused(library: Library, make: SimpleNamespace) -> None:
    path = library.locate("bundled", 1)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match=r"small-1\.safetensors is damaged") as caught:
        network(make, path, library)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_cannot_be_read_is_an_error_of_the_input(
    library: Library, make: SimpleNamespace, content: bytes
) -> None:
    path = library.locate("bundled", 1)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"small-1\.safetensors"):
        network(make, path, library)
    assert library.identify(b"none", {}) is None


def test_a_layout_that_the_network_has_not_is_refused_by_key(library: Library, make: SimpleNamespace) -> None:
    state = make.model().state_dict()
    path = library.locate("bundled", 1)
    for change, named in (
        ({"context.bias": None}, r"missing context\.bias"),
        ({"extra": torch.zeros(1)}, "unexpected extra"),
        ({"context.bias": torch.zeros(5)}, r"misshapen context\.bias \(5,\) for \(4,\)"),
    ):
        changed = {key: value for key, value in {**state, **change}.items() if value is not None}
        path.write_bytes(codec_file(changed, "small", {"quality": "1"}))
        with pytest.raises(InputError, match=named):
            network(make, path, library)

    def builder(state: State) -> torch.nn.Module:
        return make.model() if state["absent.weight"] is not None else make.model()

    path.write_bytes(codec_file(state, "small", {"quality": "1"}))
    with pytest.raises(InputError, match=r"does not fit the codec 'small': 'absent\.weight' is missing"):
        library.load(path, builder)


def test_the_error_ratio_is_read_from_the_weights(make: SimpleNamespace, tmp_path: Path) -> None:
    library, path = Library("small", tmp_path, {}), tmp_path / "small-1.safetensors"
    for told, expected in (({}, ERROR_RATIO), ({"error_ratio": "2.5"}, 2.5)):
        path.write_bytes(codec_file(make.model().state_dict(), "small", told))
        assert library.load(path, lambda state: make.model())[2] == expected
    for wrong in ("much", "nan", "-1"):
        path.write_bytes(codec_file(make.model().state_dict(), "small", {"error_ratio": wrong}))
        with pytest.raises(InputError, match=rf"small-1.*error_ratio.*{wrong}"):
            library.load(path, lambda state: make.model())
