"""One file of a folder, decoded and written: by this process, or by a worker of an engine."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..errors import IdemWarning
from ..io import remote
from ..io.walking import Source
from ..results.certificate import CERTIFICATE, beside
from .decoded import facts, not_exact
from .recording import Recorder, Watch

if TYPE_CHECKING:
    from ..pipeline.decode_file import Decoding
    from ..protocols import Callback


@dataclass(frozen=True)
class FileJob:
    """One picture of a file."""

    source: Source
    output: Path | None
    """None: beside the file, by a name that is free; it is chosen before the work begins."""
    jpeg: Path | None
    """Where the file that the picture re-encodes to goes; None if it is not wanted."""
    number: int = 0
    """Of the picture, from 0: its seed is that much higher."""
    tag: str = ""
    """What tells it apart from other pictures of the file, in names."""
    place: str = ""
    """The address of the folder that results go to, by the name of `output`; there is no `jpeg` then. Empty: here."""

    @property
    def size(self) -> int:
        """Bytes, from which the time left is estimated: the best measure that needs no reading."""
        return self.source.size

    def absolute(self) -> FileJob:
        """For a worker, whose working directory may be another."""
        output, jpeg = (path.absolute() if path else None for path in (self.output, self.jpeg))
        here = self.source if self.source.address else replace(self.source, path=self.source.path.absolute())
        return replace(self, source=here) if self.place else replace(self, source=here, output=output, jpeg=jpeg)

    @property
    def shown(self) -> tuple[str, str | None]:
        """Where picture and JPEG go, for people."""
        picture = self.output.as_posix() if self.place and self.output else str(self.output or "")
        return remote.below(self.place, picture) if self.place else picture, str(self.jpeg) if self.jpeg else None

    def moved(self, folder: Path) -> FileJob:
        """With results in a folder here."""
        return replace(self, output=self.output and folder / self.output, place="")

    def fetch_results(self, folder: Path) -> None:
        """Copies picture and certificate from `place` to the folder, as far as they are there."""
        if self.output is None:
            return
        for name in (beside(self.output), self.output):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            remote.fetch(remote.below(self.place, name.as_posix()), folder / name)

    def send_results(self, folder: Path) -> None:
        """Copies all files of the folder to `place`, the certificate last: it never names what is not there."""
        written = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        for path in sorted(written, key=lambda path: path.name.endswith(CERTIFICATE)):
            remote.send(path, remote.below(self.place, path.relative_to(folder).as_posix()))


@dataclass(frozen=True)
class Outcome:
    """What became of a file. It can be pickled."""

    facts: dict[str, Any] = field(default_factory=dict)
    """What --json prints; empty for a file that failed."""
    exact: bool = False
    error: Exception | None = None
    """Why the file failed, or that it is not exact where that was required."""
    notes: tuple[str, ...] = ()
    """Sentences for the user."""


@dataclass(frozen=True)
class FileWork:
    """Decodes and writes one file after another. It can be pickled before its first file."""

    decoding: Decoding
    recording: tuple[bool, int | None] = (False, None)
    require_exact: bool = False

    def __call__(self, job: FileJob, watch: Watch) -> Outcome:
        """`watch` shows how the solve goes on. Raises whatever is wrong with the file."""
        if not job.place:
            return self._here(job, watch, *job.shown)
        with TemporaryDirectory() as folder:
            outcome = self._here(job.moved(Path(folder)), watch, *job.shown)
            job.send_results(Path(folder))
        return outcome

    def _here(self, job: FileJob, watch: Watch, picture: str, rewritten: str | None) -> Outcome:
        """`picture` and `rewritten` are where results end, for people."""
        assert job.output is not None, "its name was not chosen"
        decoding, source, recorder = self.decoding, str(job.source), Recorder(*self.recording, watch)
        bitstream = decoding.open(source, job.source.content())
        jpeg = None if bitstream.codec.encoder.model_id else job.jpeg
        with recorder(Path(job.source.name).name, decoding.decoder.name if decoding.decoder else "") as callback:
            decoded = decoding.decode(bitstream, callback, job.number)
        for place in filter(None, (job.output, jpeg)):
            place.parent.mkdir(parents=True, exist_ok=True)
        decoded.write(job.output, jpeg, recorder.files)
        exact, said = decoded.result.exact, facts(decoded, picture, rewritten if jpeg else None)
        if exact:
            return Outcome(said, exact)
        if self.require_exact:
            return Outcome(said, exact, not_exact(decoded.certificate, source, picture))
        reason, count = decoded.certificate.reason or "", decoded.result.differing_symbols
        note = f"{job.source}: not exact, {count} symbols differ. {reason}".rstrip()
        return Outcome(said, exact, notes=() if decoding.plain else (note,))


@dataclass(frozen=True)
class RemoteWork:
    """The same in a worker of an engine: what goes wrong, and what is noted, is part of the outcome."""

    work: FileWork

    def __call__(self, job: FileJob) -> Outcome:
        """Raises only what no other file would survive: a full disk."""
        from ..plugins.blame import as_failure

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", IdemWarning)
            try:
                outcome = self.work(job, _unwatched)
            except Exception as error:
                if disk_full(error):
                    raise
                outcome = Outcome(error=as_failure(error))
        said = dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, IdemWarning))
        return replace(outcome, notes=(*said, *outcome.notes))


def start_remote(work: FileWork) -> RemoteWork:
    """In the worker. What is wrong with the prior ends the map at once, and is not said of each file."""
    if not work.decoding.plain:
        _ = work.decoding.decoder
    return RemoteWork(work)


@contextmanager
def _unwatched(_: str) -> Iterator[Callback | None]:
    yield None


def disk_full(error: BaseException) -> bool:
    """No other file would fare better."""
    causes = (error, error.__cause__)
    return any(isinstance(cause, OSError) and cause.errno == errno.ENOSPC for cause in causes)
