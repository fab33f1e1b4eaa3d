"""Files, folders and patterns on a command line, and what becomes of each file in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ..errors import UsageError
from ..io.inputs import declare_output
from ..io.walking import BITSTREAM_SUFFIXES, Source, walk
from ..plugins.catalogue import Catalogue
from .file_work import FileJob


def is_several(place: Path | str) -> bool:
    """Is it a folder, a zip file or an address, which may be a folder?"""
    if isinstance(place, str):
        return True
    return place.is_dir() or place.suffix.lower() == ".zip"


def codec_suffixes(catalogue: Catalogue) -> set[str]:
    """Suffixes of the files that installed codecs write."""
    return {suffix for _, spec in catalogue.specs("codec") if (suffix := getattr(spec, "suffix", ""))}


def find_jobs(
    places: Sequence[Path | str], out: Path | str | None, jpegs: Path | None, suffixes: set[str],
    tags: Sequence[str] = ("",),
) -> list[FileJob]:  # fmt: skip
    """A job for each picture of the files that were named, and of those in folders and zip files; see `walking.walk`.

    Of several folders, each has its own below `out`. Files of one stem keep their suffix: a.jpg.png and a.jpeg.png.
    Without `out`, pictures go beside their files. Strings are addresses. Raises UsageError if there are none, if what
    shall be written to is a file, if two files would share a picture, or if an input would be replaced.
    """
    address, out = (out, Path()) if isinstance(out, str) else ("", out)
    for place in (p for p in (out, jpegs) if p and p.exists() and not p.is_dir()):
        raise UsageError(f"{place} is a file, but there are several to write.", "Name a folder to write to.")
    found = list(_sources(places, BITSTREAM_SUFFIXES | suffixes))
    twins = Counter(name.with_suffix("") for name, _ in found)
    jobs = [
        _job(source, name, out, jpegs, twins[name.with_suffix("")] == 1, number, tag)
        for name, source in found
        for number, tag in enumerate(tags)
    ]
    _check_apart(jobs)
    if address:
        return [replace(job, place=address) for job in jobs]
    for job in jobs:
        declare_output(*filter(None, (job.output, job.jpeg)))
    return jobs


def _sources(places: Sequence[Path | str], suffixes: Collection[str]) -> Iterator[tuple[Path, Source]]:
    """Each file with its name below the folder of results."""
    for place in places:
        if isinstance(place, Path) and not is_several(place):
            yield Path(place.name), Source(place, place.name)
            continue
        own = Path(place.resolve().name if isinstance(place, Path) else PurePosixPath(place).name).with_suffix("")
        for source in walk(place, suffixes, "bitstreams"):
            alone = len(places) == 1 or source.address == place
            yield (Path() if alone else own) / source.name, source


def _job(
    source: Source, name: Path, out: Path | None, jpegs: Path | None, alone: bool, number: int, tag: str
) -> FileJob:
    stem = name.stem if alone else name.name
    is_jpeg = jpegs is not None and name.suffix.lower() != ".idem" and number == 0
    jpeg = jpegs / name.with_name(f"{stem}.jpg") if jpegs and is_jpeg else None
    output = out / name.with_name(f"{stem}{tag}.png") if out else None
    return FileJob(source, output, jpeg, number, tag)


def _check_apart(jobs: Sequence[FileJob]) -> None:
    taken: dict[Path, FileJob] = {}
    for job in jobs:
        for place in filter(None, (job.output, job.jpeg)):
            if (other := taken.setdefault(place, job)) is not job:
                raise UsageError(
                    f"{other.source} and {job.source} would both be written to {place}.",
                    "Name the folder that they are in, or decode them one by one, each with its -o.",
                )
