"""Fuzzing for as long as you like: `python tests/fuzz/fuzz.py container jpeg --count 100000`, or `--list`.

Each input is a seed after a few random changes. An input with an outcome of a new kind (the line that raised, and what)
becomes a seed too. Findings: an exception that is no IdemError, more than --seconds of CPU time, more than --megabytes
of memory at once. The input that kills the process is in the file named on the first line. Ctrl-C and SIGTERM end it
with the count so far.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_mutations import mutant
from fuzz_target import SCRATCH, Target, allowed
from fuzz_targets import TARGETS

MOST_SEEDS = 2000


class TooSlow(BaseException):
    """Not an Exception, so that no parser takes it for damage."""


@dataclass
class Tally:
    """What came of a target's inputs."""

    inputs: int = 0
    stopped: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[str, bytes] = field(default_factory=dict)
    """By kind, the shortest input."""
    slowest: float = 0.0

    def find(self, kind: str, data: bytes) -> None:
        if kind not in self.findings or len(data) < len(self.findings[kind]):
            self.findings[kind] = data


def fuzz(target: Target, count: int, seed: int, seconds: float, megabytes: int, last: Path) -> Tally:
    run, seeds, words = target.make()
    rng, tally, pool = random.Random(seed), Tally(), list(seeds)
    for whole in seeds:
        _one(lambda data: allowed(run, data), whole, tally, seconds, megabytes)
    try:
        for _ in range(count):
            data = target.repair(rng, mutant(rng, pool, words))
            last.write_bytes(data)
            outcome = _one(lambda data: allowed(run, data), data, tally, seconds, megabytes)
            tally.inputs += 1
            if tally.outcomes[outcome] == 1 and len(pool) < MOST_SEEDS:
                pool.append(data)
    except KeyboardInterrupt:
        tally.stopped = True
    return tally


def _one(run, data: bytes, tally: Tally, seconds: float, megabytes: int) -> str:  # type: ignore[no-untyped-def]
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, 5 * seconds)
    outcome = "accepted"
    try:
        error = run(data)
        if error is not None:
            outcome = _where(error)
    except (Exception, TooSlow) as error:
        outcome = _where(error)
        tally.find(outcome, data)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    spent = time.process_time() - begin
    tally.slowest = max(tally.slowest, spent)
    if spent > seconds:
        tally.find(f"slow {outcome}", data)
    if (grown := (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10) > megabytes:
        tally.find(f"large {outcome} {grown} MB", data)
    tally.outcomes[outcome] += 1
    return outcome


def _where(error: BaseException) -> str:
    """The kind of error and the line of ours, or the last line, that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = frames[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="all if left out")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"), help="findings go here")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(TARGETS))
        return
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGVTALRM, _too_slow)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's `&` ignores
    last = Path("/dev/shm" if os.path.isdir("/dev/shm") else ".") / f"idem-fuzz-last-{os.getpid()}"
    print(f"the input under way is in {last}", file=sys.stderr)
    found = 0
    try:
        for name in arguments.targets or TARGETS:
            begin = time.process_time()
            tally = fuzz(TARGETS[name], arguments.count, arguments.seed, arguments.seconds, arguments.megabytes, last)
            found += len(tally.findings)
            for number, (kind, data) in enumerate(tally.findings.items()):
                arguments.out.mkdir(exist_ok=True)
                (arguments.out / f"{name}-{arguments.seed}-{number}.bin").write_bytes(data)
                print(f"{name}: {kind}: {data[:60]!r}", file=sys.stderr)
            told = {"target": name, "inputs": tally.inputs, "accepted": tally.outcomes["accepted"]}
            told |= {"outcomes": len(tally.outcomes), "findings": len(tally.findings)}
            spent = time.process_time() - begin
            print(json.dumps({**told, "cpu_seconds": round(spent, 1), "slowest": round(tally.slowest, 3)}), flush=True)
            if tally.stopped:
                break
    finally:
        last.unlink(missing_ok=True)
        for folder in SCRATCH:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if found else 0)


def _too_slow(*_: object) -> None:
    raise TooSlow


if __name__ == "__main__":
    main()
