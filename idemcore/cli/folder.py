"""`idem decode` of a whole folder: resumable, with a bar, and no file stops another."""

from __future__ import annotations

import errno
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..io.inputs import declare_output
from ..io.walking import BITSTREAM_SUFFIXES, Source, walk
from .decoded import facts, not_exact
from .group import exit_code, tell
from .output import bars, print_json, print_record, say
from .recording import Recorder

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ..pipeline.decode_file import Decoding
    from ..protocols import Callback, Step

SOLVING = 0.8
"""Share of a file's time until its last step, about: the rest is certification."""


@dataclass(frozen=True)
class FileJob:
    """A file and what becomes of it."""

    source: Source
    output: Path
    jpeg: Path | None

    @property
    def size(self) -> int:
        """Bytes, by which the time left is told: the best measure that needs no reading."""
        return self.source.size


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
        }


def decode_folder(
    decoding: Decoding,
    folder: Path,
    out: Path,
    jpegs: Path | None,
    recording: tuple[bool, int | None],
    as_json: bool,
    require_exact: bool,
) -> int:
    """Decodes what is not done yet, and sums up; returns the exit code."""
    jobs = find_jobs(folder, out, jpegs, codec_suffixes(decoding))
    tally, bar = Tally(), Bar()
    with bar.shown():
        left = [job for job in bar.each(jobs, "looking for what is done") if not _is_done(decoding, job)]
        tally.done_before = len(jobs) - len(left)
        if left and not decoding.plain:
            _ = decoding.decoder  # what is wrong with the prior is told once, not of each file
        for job in bar.each(left, "decoding"):
            _attempt(decoding, job, Recorder(*recording, bar.file), tally, as_json, require_exact)
    if as_json:
        print_json(tally.content())
    else:
        shown = {key.replace("_", " "): value for key, value in tally.content().items()}
        print_record({"folder": f"{folder} -> {out}", **shown})
    return exit_code(tally.codes)


def codec_suffixes(decoding: Decoding) -> set[str]:
    """Of the files that installed codecs write."""
    return {suffix for _, spec in decoding.catalogue.specs("codec") if (suffix := getattr(spec, "suffix", ""))}


def find_jobs(folder: Path, out: Path, jpegs: Path | None, suffixes: set[str]) -> list[FileJob]:
    """The bitstreams in a folder and those in it, or in a zip file, by name; see `walking.walk`.

    Files of one stem keep their suffix: a.jpg.png and a.jpeg.png. Raises UsageError if there are none, if what shall
    be written to is a file, or if an input would be replaced.
    """
    for place in (p for p in (out, jpegs) if p and p.exists() and not p.is_dir()):
        raise UsageError(f"{place} is a file, but {folder} holds several.", "Name a folder to write to.")
    found = walk(folder, BITSTREAM_SUFFIXES | suffixes, "bitstreams")
    twins = Counter(_stem(source) for source in found)
    jobs = [_job(source, out, jpegs, alone=twins[_stem(source)] == 1) for source in found]
    for job in jobs:
        declare_output(*filter(None, (job.output, job.jpeg)))
    return jobs


def _stem(source: Source) -> Path:
    return Path(source.name).with_suffix("")


def _job(source: Source, out: Path, jpegs: Path | None, alone: bool) -> FileJob:
    path = Path(source.name)
    stem = path.stem if alone else path.name
    is_jpeg = jpegs is not None and path.suffix.lower() != ".idem"
    jpeg = jpegs / path.with_name(f"{stem}.jpg") if jpegs and is_jpeg else None
    return FileJob(source, out / path.with_name(f"{stem}.png"), jpeg)


def _is_done(decoding: Decoding, job: FileJob) -> bool:
    if not job.output.is_file() or (job.jpeg and not job.jpeg.is_file()):
        return False
    try:
        return decoding.is_done(job.source.content(), job.output)
    except UsageError:
        return False


def _attempt(
    decoding: Decoding, job: FileJob, recorder: Recorder, tally: Tally, as_json: bool, require_exact: bool
) -> None:
    try:
        _decode(decoding, job, recorder, tally, as_json, require_exact)
    except BrokenPipeError:
        raise
    except Exception as error:
        if _disk_full(error):
            raise
        tally.failed += 1
        tally.codes.add(tell(error, str(job.source)))


def _decode(
    decoding: Decoding, job: FileJob, recorder: Recorder, tally: Tally, as_json: bool, require_exact: bool
) -> None:
    bitstream = decoding.open(Path(str(job.source)), job.source.content())
    jpeg = None if bitstream.codec.encoder.model_id else job.jpeg
    with recorder(Path(job.source.name).name, decoding.decoder.name if decoding.decoder else "") as callback:
        decoded = decoding.decode(bitstream, callback)
    for place in filter(None, (job.output, jpeg)):
        place.parent.mkdir(parents=True, exist_ok=True)
    decoded.write(job.output, jpeg, recorder.files)
    tally.decoded += 1
    tally.exact += decoded.result.exact
    if as_json:
        print_json({"source": str(job.source), **facts(decoded, job.output, jpeg)})
    if decoded.result.exact:
        return
    if require_exact:
        tally.codes.add(tell(not_exact(decoded, Path(str(job.source)), job.output)))
    elif not decoding.plain:
        reason = decoded.certificate.reason or ""
        say(f"{job.source}: not exact, {decoded.result.differing_symbols} symbols differ. {reason}".rstrip())


def _disk_full(error: BaseException) -> bool:
    """No other file would fare better."""
    causes = (error, error.__cause__)
    return any(isinstance(cause, OSError) and cause.errno == errno.ENOSPC for cause in causes)


class Bar:
    """Progress and the time left on stderr; nothing where stderr is no terminal."""

    def __init__(self) -> None:
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
            self._update(0.0, f"{doing}: {number} of {len(jobs)}, {job.source.name}")
            yield job
            self._update(1.0)
            self.begun += self.size
        if self.progress and self.task is not None:
            self.progress.remove_task(self.task)

    @contextmanager
    def file(self, _: str) -> Iterator[Callback | None]:
        """A callback for `solve` that moves the bar within a file."""
        yield (lambda step: self._update(SOLVING * _share(step))) if self.progress else None

    def _update(self, share: float, description: str | None = None) -> None:
        if self.progress and self.task is not None:
            self.progress.update(self.task, completed=self.begun + share * self.size, description=description)


def _share(step: Step) -> float:
    return (step.index + 1) / step.total
