"""One sweep on two engines: planned, killed, resumed, pruned, compared, exported. Are the stores the same, bit for bit?

{JPEG quality 10, ELIC quality 1 and 2} x {cell, dsg, latino, once} x 2 priors x 8 crops of 64x64 x 2 seeds, few steps.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from idemcore.sweeps.store import Store

IDEM = (sys.executable, "-m", "idemcore.cli")
VARIES = ("seconds", "batch")
"""Keys of a row that differ from one time to the next."""
SWEEP = """
title: Three rates, four solvers, two priors
metrics: [bpp, psnr, exact, nfe]
base: {codec.certify_passes: 60}
axes:
  - {name: jpeg, axes: {codec: jpeg, quality: 10, PARTS}}
  - {name: elic, axes: {codec: elic, quality: [1, 2], PARTS}}
""".replace(
    "PARTS",
    "generator: [ddpm-photo, ddpm-faces64], solver: [cell, dsg, latino, once], solver.steps: 4, seed: 0..1",
)
ENGINES = {"local": ("engine.workers=1",), "ray": ("engine.cpus=2", "engine.cpus_per_worker=1", "engine.workers=2")}


def idem(*words: object) -> str:
    """What the command prints; stops the script where it fails."""
    return subprocess.run([*IDEM, *map(str, words)], check=True, text=True, stdout=subprocess.PIPE).stdout


def killed(words: list[str], store: Path, runs: int) -> int:
    """Starts a sweep, kills it with SIGKILL once it has so many runs, and says how many it left."""
    process = subprocess.Popen([*IDEM, *words], stdout=subprocess.DEVNULL, start_new_session=True)
    rows = store / "rows.jsonl"
    while process.poll() is None and (not rows.exists() or rows.read_bytes().count(b"\n") < runs):
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return len(Store(store).ids())


def content(store: Path) -> tuple[dict[str, object], dict[str, bytes]]:
    """Rows by id without what varies, and pictures by name."""
    rows = {row.id: {k: v for k, v in row.to_json().items() if k not in VARIES} for row in Store(store).rows()}
    return rows, {path.name: path.read_bytes() for path in (store / "images").iterdir()}


def run(engine: str, folder: Path, definition: Path, photos: Path, limit: int) -> None:
    store, place = folder / engine, [str(photos), "--crop", "64", "--limit", str(limit), "--precision", "fp32"]
    options = [word for setting in ENGINES[engine] for word in ("--set", setting)]
    words = ["sweep", str(definition), *place, "--store", str(store), "--engine", engine, *options, "--json"]
    plan = json.loads(idem(*words, "--dry-run"))
    print(f"{engine}: {plan['runs']} runs planned, {plan['seconds']:.0f} s, {plan['bytes'] / 1e6:.1f} MB", flush=True)
    begin = time.monotonic()
    left = killed(words, store, plan["runs"] // 4)
    told = json.loads(idem(*words))
    print(f"  killed at {left}, resumed: {told['runs']} runs, {told['earlier']} earlier, {told['failed']} failed, "
          f"{time.monotonic() - begin:.0f} s", flush=True)  # fmt: skip
    (store / "images" / "stray.png").write_bytes(b"nothing refers to it")
    print(f"  pruned: {idem('store', 'prune', store, '--yes', '--json').strip()}")
    table = idem("compare", store, "--anchor", "solver=once", "--anchor", "generator=ddpm-photo", "--metrics",
                 "psnr,exact,nfe", "--format", "latex")  # fmt: skip
    (folder / f"{engine}.tex").write_text(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder of images of 64x64 pixels or more")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/engines"))
    parser.add_argument("--limit", type=int, default=8, help="images")
    parser.add_argument("--engine", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    definition = options.output / "sweep.yaml"
    definition.write_text(SWEEP)
    for engine in options.engine:
        run(engine, options.output, definition, options.photos, options.limit)
    if all((options.output / engine).is_dir() for engine in ENGINES):
        first, second = (content(options.output / engine) for engine in ENGINES)
        print(f"the same rows: {first[0] == second[0]}, {len(first[0])} of them")
        print(f"the same pictures: {first[1] == second[1]}, {len(first[1])} of them")
        tables = [(options.output / f"{engine}.tex").read_text() for engine in ENGINES]
        print(f"the same LaTeX: {tables[0] == tables[1]}")


if __name__ == "__main__":
    main()
