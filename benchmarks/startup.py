"""Seconds until `idem --help` and `idem plugins list` answer, with many plugins installed besides; no images.

Tiny distributions are written to a temporary folder that is put on PYTHONPATH: metadata, and a module that describes
one codec. Every command is run in a process of its own; the median and the least of several runs are shown, in wall
time and in processor time, which a busy machine stretches less.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from common import save, table

COMMANDS = (("--help",), ("plugins", "list"), ("codecs", "list"))
PLUGIN = """
from idemcore.hookspecs import EncoderSpec, hookimpl

@hookimpl
def idem_encoders():
    offers = frozenset({{"project"}})
    return [EncoderSpec(name="dummy{n}", api=1, target="dummy_{n}:Codec", summary="nothing", offers=offers)]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plugins", type=int, default=30, help="dummy plugins besides those that are installed")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", type=Path, help="file to write every number to")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        for number in range(args.plugins):
            install(Path(folder), number)
        rows, figures = [], {}
        for command in COMMANDS:
            taken = [seconds(command, folder) for _ in range(args.runs + 1)][1:]  # the first one compiles
            walls, processors = (sorted(kind) for kind in zip(*taken, strict=True))
            figures[" ".join(command)] = {"wall": walls, "processor": processors}
            row = {"command": f"`idem {' '.join(command)}`"}
            for name, times in (("wall", walls), ("processor", processors)):
                row |= {f"{name} s, median": f"{statistics.median(times):.2f}", f"{name} s, least": f"{times[0]:.2f}"}
            rows.append(row)
    print(table(rows))
    save(args.json, {"plugins": args.plugins, "seconds": figures})


def install(folder: Path, number: int) -> None:
    """A distribution `demo-dummyN` with an entry point."""
    (folder / f"dummy_{number}.py").write_text(PLUGIN.format(n=number))
    info = folder / f"demo_dummy{number}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: demo-dummy{number}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[idemcore.plugins]\ndummy{number} = dummy_{number}\n")


def seconds(command: tuple[str, ...], folder: str) -> tuple[float, float]:
    """Wall time and processor time of one process."""
    path = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "idemcore.cli", *command],
        env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
