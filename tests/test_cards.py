"""Model cards: each fault is named, and those of the registry have none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from idemcore.errors import InputError
from idemcore.hookspecs import Spec
from idemcore.plugins.catalogue import KINDS, load_catalogue
from idemcore.weights import cards
from idemcore.weights import store as models
from idemcore.weights.cards import read_card

Card = dict[str, object]
WriteCard = Callable[..., None]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"summary": None}, "'summary' is missing"),
        ({"kind": "metric"}, "kind is 'metric'"),
        ({"adaptor": "a.b:c"}, "no key 'adaptor' (Did you mean 'adapter'?)"),
        ({"adapter": "demo_plugin.adapt"}, "'adapter' of demo"),
        ({"reader": "demo_plugin.read"}, "'reader' of demo"),
        ({"adapter": None}, "'adapter' of demo is missing"),
        ({"page": None}, "'page' of demo is missing"),
        ({"source": None}, "'source' of demo is missing"),
        ({"url": "ftp://example.org/x"}, "https://"),
        ({"url": "file:///etc/passwd"}, "https://"),
        ({"sha256": "12ab"}, "64 digits"),
        ({"sha256_prefix": 93677231}, "text in quotes"),
        ({"bytes": "many"}, "not a number"),
        ({"file": "weights/x.safetensors"}, "'sha256' of demo is missing"),
        ({"files": []}, "'files' is not a list"),
        ({"files": [{"quality": 1}, {"quality": 2}]}, "no 'id'"),
        ({"files": [{"id": "a"}, {"id": "a"}]}, "two files have the id 'a'"),
        ({"files": [{"id": "../a"}]}, "'id' of ../a"),
        ({"files": [{"id": "a", "qualty": 1}]}, "no key 'qualty'"),
        ({"files": [{"id": "a"}], "bytes": 3}, "'bytes' belongs in the entries"),
        ({"name": "other"}, "that of the file 'demo'"),
    ],
)
def test_each_fault_of_a_card_is_named(change: Card, named: str, tmp_path: Path, demo_card: Card) -> None:
    path = tmp_path / "demo.yaml"
    content = {"name": "demo", **demo_card, **change}
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    with pytest.raises(InputError, match=r"demo\.yaml") as caught:
        read_card(path)
    assert named in caught.value.message


@pytest.mark.parametrize("content", ["- a\n- b\n", "name: [", "", "a: !!python/object/apply:os.system [true]\n"])
def test_a_card_that_is_no_mapping_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text(content)
    with pytest.raises(InputError, match=r"demo\.yaml"):
        read_card(tmp_path / "demo.yaml")


def test_two_cards_cannot_name_one_file(write_card: WriteCard) -> None:
    write_card()
    write_card("other", files=[{"id": "demo"}])
    with pytest.raises(InputError, match="both name 'demo'"):
        cards.cards()


def test_the_cards_of_the_registry_are_whole() -> None:
    for card in cards.cards():
        assert {"licence", "layout", "citation", "parameters", "value_range"} <= card.facts.keys(), card.name
        for file in card.files:
            package = card.plugin.replace("-", "_")
            assert file.bundled or file.adapter.startswith(f"{package}."), file.id
            assert not file.reader or file.reader.startswith(f"{package}."), file.id
            digits = re.search(r"-([0-9a-f]{8})\.pth\.tar$", file.url)
            assert not digits or file.checksum == digits[1], file.id
        qualities = [file.quality for file in card.files if card.kind == "codec"]
        assert len(set(qualities)) == len(qualities), card.name


def test_every_weights_id_of_a_plugin_has_a_card() -> None:
    catalogue = load_catalogue()
    named: list[Spec] = [spec for kind in KINDS for _, spec in catalogue.specs(kind)]
    assert [models.find(weights) for spec in named for weights in spec.weights]
