"""Targets: settings, sweeps, model cards, results, and what plugins say of themselves."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import fields
from functools import cache, partial
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

from fuzz_target import Made, as_file, one_in, scratch

from idemcore.errors import IdemError

YAML_WORDS = [
    b"&a ", b"*a", b"!!int ", b"!!float ", b"!!binary ", b"!!timestamp ", b"!!python/object:os.system ", b"? ",
    b": ", b"- ",
    b"[", b"]", b"{", b"}", b"|\n", b">\n", b"'", b'"', b"<<: ", b"${a}", b"${oc.env:HOME}", b"${", b"???", b"1e999",
    b"2024-13-40", b"0x", b"0b2", b"1:2:3", b".nan", b"-.inf", b"9" * 5000, b"\t", b"\x00", b"\xff", b"---\n", b"...\n",
    b"%YAML 9\n", b"#", b"\n", b"  ", b"true", b"null", b"~", b"[" * 300, b"{a: " * 200,
]  # fmt: skip


@cache
def config_classes() -> dict[str, list[type[Any]]]:
    from idemcore.plugins.catalogue import import_target, load_catalogue

    catalogue = load_catalogue()
    return {
        kind: [import_target(spec.config) for _, spec in catalogue.specs(kind) if spec.config]
        for kind in ("codec", "generator", "solver")
    }


def _built(values: dict[str, dict[str, Any]]) -> None:
    from idemcore.plugins.settings import build_config

    for scope, given in values.items():
        for config_class in config_classes().get(scope, []):
            with contextlib.suppress(IdemError):
                build_config(config_class, given, scope)


def config() -> Made:
    from idemcore.plugins.settings import load_config_file

    seeds = [b"solver:\n  steps: 20\n  churn: 1e-3\ncodec: {quality: 10, subsampling: 4:2:0}\n",
             b"codec:\n  quality: 3  # low\ngenerator:\n  weights: some/file.pt\nadapter: {}\n"]  # fmt: skip
    names = [f"{name}: 1\n".encode() for name in ("steps", "quality", "weights", "subsampling", "codec", "solver")]
    return as_file(lambda path: _built(load_config_file(path)), "c.yaml"), seeds, [*YAML_WORDS, *names]


def overrides() -> Made:
    from idemcore.plugins.settings import parse_overrides

    def run(data: bytes) -> None:
        _built(parse_overrides(data.decode(errors="surrogateescape").split("\0")))

    seeds = [b"solver.steps=20", b"codec.quality=10\0codec.subsampling=4:2:0", b"solver.a.b=[1, 2, {c: d}]",
             b"generator.weights='a b'\0solver.steps=1e-3"]  # fmt: skip
    return run, seeds, [*YAML_WORDS, b"=", b".", b"solver.", b"codec.", b"adapter."]


def sweep() -> Made:
    from idemcore.sweeps.grid import load_definition, parse_axes

    def run(data: bytes) -> None:
        path = scratch("sweep.yaml")
        path.write_bytes(data)
        definition = load_definition(path)
        with contextlib.suppress(IdemError):
            axes = parse_axes(data.decode(errors="surrogateescape").splitlines()[:3])
            definition = definition.with_axes(axes, {"seed": 0})
        definition.points()
        json.dumps(definition.facts())

    seeds = [b"axes:\n  codec: [jpeg, elic]\n  quality: 1..4\n  seed: 0..3\nimages: photos\nsize: 64\n",
             b"title: t\naxes:\n  - {solver: cell, solver.steps: [8, 20]}\n"
             b"  - axes: {seed: 1..9..2}\n    base: {quality: 1}\nexclude:\n"
             b"  - {quality: 1}\nlimit: 3\nmetrics: [psnr]\n",
             b"quality=1..4\nseed=0..3\nsolver=cell,mse"]  # fmt: skip
    words = [b"axes:", b"base:", b"exclude:", b"images:", b"..", b"1..999999999", b"0..9..0", b"limit: 0", b"size: x"]
    return run, seeds, [*YAML_WORDS, *words]


def card() -> Made:
    from idemcore.plugins.registry import registry_folder
    from idemcore.weights.cards import FACTS, REQUIRED, read_card

    seeds = []
    for path in sorted((registry_folder() / "models").glob("*.yaml")):
        seeds.append(path.read_bytes().replace(path.stem.encode(), b"card", 1)[:1500])
    words = [f"{key}:".encode() for key in (*REQUIRED, *FACTS, "files", "id", "sha256", "url", "bytes", "quality")]
    return as_file(read_card, "card.yaml"), seeds, [*YAML_WORDS, *words]


JSON_WORDS = [b"null", b"NaN", b"1e999", b"-1", b"[]", b"{}", b'""', b"[" * 2000, b'{"a":' * 2000, b"9" * 5000,
              b'"\\ud800"',
              b"true", b"0.5", b'"x"', b"\xff", b"\n", b",", b"Infinity"]  # fmt: skip


def certificate() -> Made:
    """As `idem inspect` shows it."""
    from idemcore.cli.inspect import described
    from idemcore.results.certificate import (
        BitstreamFacts,
        Certificate,
        CodecFacts,
        ComputedFacts,
        PartFacts,
        PictureFacts,
    )

    part = PartFacts("g", "p", "1", {"a": 1}, weights_sha256="ab", source_sha256=None, warm_start=1.5)
    sound = Certificate(
        exact=True, differing_symbols=0, reason=None, psnr_moved=60.1, seed=0, sample=0, tradeoff=1.0, tile=None,
        special=(), codec_settings={}, computed=ComputedFacts("cpu", "fp32", "1", None, "2"), notes=("a",),
        image=PictureFacts(8, 8, "ab", "cd", upright=True), bitstream=BitstreamFacts(3, "cd"),
        codec=CodecFacts("jpeg", "p", "1", None, {}, None, {"quality": 10}),
        generator=part, solver=part, adapter=None, restorer=None,
    )  # fmt: skip
    content = sound.to_json()
    keys = [f'"{key}"'.encode() for key in content]
    return partial(described, file="x.json"), [json.dumps(content).encode()], [*JSON_WORDS, *keys]


def curve() -> Made:
    """Results in CompressAI's format, as `idem compare` and `idem report --reference` take them."""
    from idemcore.evaluation.curves import Curve, bd_metric, bd_rate, overlap, paired
    from idemcore.report.references import read_reference

    results = {"bpp": [0.1, 0.2, 0.4], "psnr-rgb": [28.0, 30.0, 33.0]}
    rows = [{"point": p, "image": "a", "seed": 0, "metrics": {"psnr": 28.0 + p}} for p in range(3)]
    ours = {
        "name": "a",
        "description": "b",
        "results": results,
        "rows": rows,
        "meta": {"points": [{}, {}, {}], "schema": 1},
    }
    ours |= {"intervals": {"psnr-rgb": [[27, 29], None, [32, 34]]}, "missing": {"fd": "no weights"}}

    def read(path: Path) -> None:
        found = Curve.read(path)
        anchor = Curve.of(ours)
        overlap(anchor, found)
        bd_rate(anchor, found)
        bd_metric(anchor, found)
        paired(anchor, found, "psnr")
        found.content()
        read_reference(path).points("psnr")

    seeds = [json.dumps(content).encode() for content in (ours, {"name": "x", "results": results}, results)]
    return as_file(read, "curve.json"), seeds, [*JSON_WORDS, *(f'"{key}"'.encode() for key in (*ours, *results))]


def store() -> Made:
    """The rows of a sweep, as a resumed sweep and `idem report` read them."""
    from idemcore.results.base import SCHEMA
    from idemcore.sweeps.store import META, ROWS, Store

    folder = scratch("store")
    folder.mkdir()

    def run(data: bytes) -> None:
        meta, _, rows = data.partition(b"\0")
        (folder / META).write_bytes(meta)
        (folder / ROWS).write_bytes(rows)
        found = Store.open(folder)
        found.meta()
        found.ids("ok")

    row = {
        "id": "a", "status": "ok", "error": None, "codec": {"name": "jpeg", "quality": 10}, "generator": None,
        "solver": {"name": "cell", "steps": 8}, "adapter": None, "versions": {}, "weights": {}, "seed": 0,
        "image": {"name": "a.png", "sha256": "00", "width": 8, "height": 8}, "exact": True, "bytes": 30, "nfe": 8,
        "metrics": {"psnr": 30.0, "bpp": 1.0}, "decoded_metrics": {"psnr": 29.0, "bpp": 1.0}, "seconds": {"solve": 1.0},
        "missing_metrics": {}, "files": {"reconstruction": "images/a.png"}, "batch": 1, "device": "cpu",
        "schema": SCHEMA,
    }  # fmt: skip
    lines = [json.dumps({**row, "id": name, "seed": seed}) for name, seed in (("a", 0), ("b", 1))]
    meta = json.dumps({"format": 1, "sweeps": [{"axes": {}}]})
    seed = f"{meta}\0{chr(10).join(lines)}\n".encode()
    return run, [seed], [*JSON_WORDS, *(f'"{key}"'.encode() for key in row), b"\0"]


def plugin_records() -> Made:
    """What a plugin says of itself, with fields of any kind; the bytes seed the choice."""
    from idemcore import hookspecs
    from idemcore.plugins.catalogue import _HOOKS, Catalogue, _load

    odd = [None, 0, -1, 1.5, "", "x", "a:b", "a.b:C", b"", b"\xff\xd8", (), ("x",), [], {},
           {"k=v": frozenset({"image"})},
           frozenset(), frozenset({"measure"}), frozenset({1}), "jpeg", "two\nlines", object(), True,
           2**70]  # fmt: skip

    def run(data: bytes) -> None:
        rng = random.Random(data)
        plugin = ModuleType("odd")
        for hook, spec_class in _HOOKS.values():
            records = [_record(rng, spec_class, odd) for _ in range(rng.randrange(3))]
            result = rng.choice([records, records, tuple(records), None, 3, [None], [spec_class]])
            setattr(plugin, hook, hookspecs.hookimpl(lambda result=result: result))
        entry = EntryPoint("odd", "odd", hookspecs.ENTRY_POINT_GROUP)
        sys.modules["odd"] = plugin
        try:
            loaded = _load("idemcore-odd", [entry], strict=False)
        finally:
            del sys.modules["odd"]
        used(Catalogue([loaded]))

    return run, [bytes([n]) * 4 for n in range(4)], []


def _record(rng: random.Random, spec_class: type[Any], odd: Sequence[object]) -> Any:
    given: dict[str, Any] = {"name": rng.choice(["odd", "other"]), "target": "odd:Thing", "summary": "a thing"}
    for field in fields(spec_class):
        if one_in(3 * len(fields(spec_class)), rng):
            given[field.name] = rng.choice(odd)
    return spec_class(**given)


def used(catalogue: Any) -> None:
    """What every command does with a catalogue."""
    from idemcore.pipeline.codec import open_bitstream
    from idemcore.plugins.catalogue import KINDS

    for kind in KINDS:
        for _, spec in catalogue.specs(kind):
            f"{spec.name:<9}  {spec.summary}  {','.join(spec.weights)}"
        with contextlib.suppress(IdemError):
            catalogue.resolve(kind, "odd")
    for data in (b"\xff\xd8\xff", b"\x1dem\1abcd\1\1\0\0\0\0"):
        with contextlib.suppress(IdemError):
            open_bitstream(data, "x", catalogue=catalogue)


def plugin_metadata() -> Made:
    """METADATA and entry_points.txt of an installed distribution."""
    from idemcore.plugins.catalogue import load_catalogue

    folder = scratch("site") / "odd-1.0.dist-info"
    folder.mkdir(parents=True)

    def run(data: bytes) -> None:
        metadata, _, points = data.partition(b"\0")
        (folder / "METADATA").write_bytes(metadata)
        (folder / "entry_points.txt").write_bytes(points)
        os.utime(folder.parent)
        before, sys.path[:] = list(sys.path), [str(folder.parent)]  # the other distributions are not what is fuzzed
        try:
            catalogue = load_catalogue()
        finally:
            sys.path[:] = before
        used(catalogue)

    seeds = [b"Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n\0[idemcore.plugins]\nodd = json\n",
             b"Name: odd\nVersion: 1\n\0[console_scripts]\na = b:c\n\n"
             b"[idemcore.plugins]\nodd = idemcore_toy.plugin\n"]  # fmt: skip
    words = [
        b"Name:",
        b"Version:",
        b"[idemcore.plugins]",
        b"=",
        b":",
        b"[",
        b"]",
        b"\n",
        b" ",
        b"json",
        b".",
        b"\0",
        b"\xff",
    ]
    return run, seeds, words
