"""`idem decode` of several files: resumable, with a bar, and no file stops another.

find_jobs -> what is done is left out -+-> FileWork, here ------------------+-> Tally
                                       +-> RemoteWork, by workers of an engine +
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..errors import IdemError, UsageError
from ..io.files import read_file
from .decoded import not_exact
from .file_work import FileJob, FileWork, Outcome, disk_full, start_remote
from .group import exit_code, tell
from .output import bars, print_json, print_record, say

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ..pipeline.decode_file import Decoding
    from ..protocols import Callback, Engine, Step
    from ..results.certificate import Certificate

SOLVING = 0.8
"""Share of a file's time until its last step, about: the rest is certification."""


@dataclass
class Tally:
    """What happened."""

    decoded: int = 0
    exact: int = 0
    done_before: int = 0
    failed: int = 0
    codes: set[int] = field(default_factory=set)
    begin: float = field(default_factory=time.monotonic)

    def content(self) -> dict[str, Any]:
        return {
            "decoded": self.decoded,
            "exact": self.exact,
            "done_before": self.done_before,
            "failed": self.failed,
            "seconds": round(time.monotonic() - self.begin, 1),
            "photographs_an_hour": self.an_hour(),
        }

    def an_hour(self) -> int | None:
        """Photographs that are decoded in an hour, at the speed so far; None before the first."""
        spent = time.monotonic() - self.begin
        return round(3600 * self.decoded / spent) if self.decoded and spent > 0 else None

    def speed(self) -> str:
        """For the bar."""
        return f", {fast:,} photographs an hour" if (fast := self.an_hour()) else ""


def decode_several(
    work: FileWork, jobs: Sequence[FileJob], title: str, as_json: bool, engine: Engine | None = None
) -> int:
    """Decodes what is not done yet, here or by the workers of `engine`, and sums up; returns the exit code."""
    decoding = work.decoding
    bar = Bar(tally := Tally())
    with bar.shown():
        left = list(_left(work, bar.each(jobs, "looking for what is done"), tally))
        if left and not decoding.plain and not engine:
            _ = decoding.decoder  # what is wrong with the prior is said once, not of each file
        for job, outcome in _remotely(work, left, engine, bar) if engine else _here(work, left, bar):
            _count(job, outcome, tally, as_json)
    if as_json:
        print_json(tally.content())
    else:
        shown = {key.replace("_", " "): value for key, value in tally.content().items() if value is not None}
        print_record({"folder": title, **shown})
    return exit_code(tally.codes)


def _here(work: FileWork, jobs: Sequence[FileJob], bar: Bar) -> Iterator[tuple[FileJob, Outcome]]:
    """In this process, one after another."""
    for job in bar.each(jobs, "decoding"):
        try:
            outcome = work(job, bar.file)
        except BrokenPipeError:
            raise
        except Exception as error:
            if disk_full(error):
                raise
            outcome = Outcome(error=error)
        yield job, outcome


def _remotely(work: FileWork, jobs: Sequence[FileJob], engine: Engine, bar: Bar) -> Iterator[tuple[FileJob, Outcome]]:
    """By workers, in the order in which they are done. A file that kills its worker each time has failed."""
    results = engine.map(partial(start_remote, work), [job.absolute() for job in jobs])
    for job, result in bar.done(results, jobs):
        yield job, result if isinstance(result, Outcome) else Outcome(error=IdemError(result.reason))


def _count(job: FileJob, outcome: Outcome, tally: Tally, as_json: bool) -> None:
    """Adds a file to the tally, and says what its user should know."""
    tally.decoded += bool(outcome.facts)
    tally.failed += not outcome.facts
    tally.exact += outcome.exact
    if outcome.facts and as_json:
        print_json({"source": str(job.source), **outcome.facts})
    for note in outcome.notes:
        say(note)
    if outcome.error:
        tally.codes.add(tell(outcome.error, "" if outcome.facts else str(job.source)))


def _left(work: FileWork, jobs: Iterable[FileJob], tally: Tally) -> Iterator[FileJob]:
    """The jobs that are not done, each with its place; one that would replace somebody's own file has failed."""
    taken: set[Path] = set()
    for job in jobs:
        try:
            output, done = _place(work.decoding, job, taken)
        except UsageError as error:
            tally.failed += 1
            tally.codes.add(tell(error))
            continue
        if done is None:
            taken.add(output)
            yield replace(job, output=output)
            continue
        tally.done_before += 1
        if work.require_exact and not done.exact:
            tally.codes.add(tell(not_exact(done, str(job.source), output)))


def _place(decoding: Decoding, job: FileJob, taken: Collection[Path]) -> tuple[Path, Certificate | None]:
    """Where the picture goes, and its certificate if it is there already.

    Raises UsageError if a file is in the way that idem did not write.
    """
    from ..pipeline.decode_file import free_name, names_beside

    if job.place:
        assert job.output
        with TemporaryDirectory() as folder:
            job.fetch_results(Path(folder))
            return job.output, _done(decoding, job, Path(folder) / job.output)
    if job.output:
        return job.output, _done(decoding, job, job.output)
    for output in names_beside(job.source.path, job.tag):
        if not output.exists():
            break
        with suppress(UsageError):  # another name will do
            if done := _done(decoding, job, output):
                return output, done
    _check_jpeg(job)
    return free_name(job.source.path, tag=job.tag, taken=taken), None


def _done(decoding: Decoding, job: FileJob, output: Path) -> Certificate | None:
    """The certificate of a picture that is there. Raises UsageError for a file in the way that idem did not write."""
    from ..pipeline.decode_file import certificate_of

    found = certificate_of(output)
    if output.exists() and found is None:
        reason = f"{job.shown[0] or output} is there already, without a certificate of its own."
        raise UsageError(reason, "Move it away, or name another folder.")
    if found is not None and not (job.jpeg and not job.jpeg.is_file()):
        try:
            if decoding.is_asked(found, job.source.content(), job.number):
                return found
        except UsageError:  # of the file itself: its own turn will tell
            return None
    _check_jpeg(job)
    return None


def _check_jpeg(job: FileJob) -> None:
    """Raises UsageError for a file in the way of the JPEG, but one with the bytes of the source: an exact result."""
    if job.jpeg and job.jpeg.exists() and not (job.jpeg.is_file() and read_file(job.jpeg) == job.source.content()):
        reason = f"{job.jpeg} is there already, and is no exact copy of {job.source}."
        raise UsageError(reason, "Move it away, or name another folder with --write-jpeg.")


class Bar:
    """Progress and the time left on stderr; nothing where stderr is no terminal."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.progress: Progress | None = None
        self.task: TaskID | None = None
        self.begun, self.size = 0.0, 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        # Speed over the whole time: a file takes longer than the 30 seconds of the default.
        with bars("{task.description}", "bar", "percent", "left", speed_estimate_period=1e9) as self.progress:
            yield
        self.progress = None

    def each(self, jobs: Sequence[FileJob], doing: str) -> Iterator[FileJob]:
        """The jobs, one after another, as steps of a bar of their sizes."""
        if self.progress:
            self.task = self.progress.add_task(doing, total=sum(job.size for job in jobs))
        self.begun = 0.0
        for number, job in enumerate(jobs, 1):
            self.size = job.size
            self._update(0.0, f"{doing}: {number} of {len(jobs)}{self.tally.speed()}, {job.source.name}")
            yield job
            self._update(1.0)
            self.begun += self.size
        if self.progress and self.task is not None:
            self.progress.remove_task(self.task)

    def done(self, results: Iterable[tuple[FileJob, Any]], jobs: Sequence[FileJob]) -> Iterator[tuple[FileJob, Any]]:
        """The results, as steps of a bar of the sizes of their jobs, in whatever order they come."""
        if self.progress:
            self.task = self.progress.add_task("decoding", total=sum(job.size for job in jobs))
        self.begun = 0.0
        for number, (job, result) in enumerate(results, 1):
            yield job, result
            self.begun += job.size
            self._update(0.0, f"decoding: {number} of {len(jobs)} done{self.tally.speed()}")

    @contextmanager
    def file(self, _: str) -> Iterator[Callback | None]:
        """A callback for `solve` that moves the bar within a file."""
        yield (lambda step: self._update(SOLVING * _share(step))) if self.progress else None

    def _update(self, share: float, description: str | None = None) -> None:
        if self.progress and self.task is not None:
            self.progress.update(self.task, completed=self.begun + share * self.size, description=description)


def _share(step: Step) -> float:
    return (step.index + 1) / step.total
