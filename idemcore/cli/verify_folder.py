"""`idem verify` of folders: every picture against the file that it was decoded from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..errors import EXIT_FAILED, IdemError, NotExact, UsageError
from ..io.files import parse_json, read_file
from ..io.walking import BITSTREAM_SUFFIXES, IMAGE_SUFFIXES, JPEG_SUFFIXES, Source, contents, walk
from ..results.certificate import beside
from .album import codec_suffixes, is_several
from .group import exit_code, tell
from .options import RunOptions
from .output import print_json, print_record, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..pipeline.codec import KeptCodecs
    from ..pipeline.verify import Verdict
    from ..plugins.catalogue import Catalogue

PICTURE_SUFFIXES = IMAGE_SUFFIXES - JPEG_SUFFIXES
NAMED = 5
"""Files that a note names; it counts the others."""


@dataclass
class Tally:
    """What was found."""

    exact: int = 0
    not_exact: int = 0
    failed: int = 0
    codes: set[int] = field(default_factory=set)


def verify_folders(pictures: Path, bitstreams: Path, options: RunOptions) -> int:
    """Compares every picture with its file, and sums up; returns the exit code.

    A certificate says by sha256 which file is meant; a picture without one is matched by its name. Raises UsageError if
    one of the two is not a folder, or holds nothing.
    """
    from ..plugins.catalogue import load_catalogue

    if not pictures.is_dir() or not is_several(bitstreams):
        other = bitstreams if pictures.is_dir() else pictures
        raise UsageError(f"{other} is not a folder, but the other is.", "Name two files, or two folders.")
    from ..pipeline.codec import KeptCodecs

    catalogue, tally, kept = load_catalogue(), Tally(), KeptCodecs()
    pairs, lonely, unused = matched(pictures, bitstreams, codec_suffixes(catalogue))
    for picture, source in pairs:
        _attempt(picture, source, partial(_verdict, catalogue, kept, options), tally, options.as_json)
    _note(lonely, "has no file that it was decoded from", "have no file that they were decoded from", tally)
    _note(unused, "has no picture", "have no picture", tally)
    found = {"exact": tally.exact, "not_exact": tally.not_exact, "failed": tally.failed,
             "pictures_without_file": len(lonely), "files_without_picture": len(unused)}  # fmt: skip
    if options.as_json:
        print_json(found)
    else:
        print_record({key.replace("_", " "): value for key, value in found.items()})
    return exit_code(tally.codes)


def matched(
    pictures: Path, bitstreams: Path, suffixes: set[str]
) -> tuple[list[tuple[Path, Source]], list[str], list[str]]:
    """Pairs, pictures without a file, and files without a picture, in order of their names."""
    sources = walk(bitstreams, BITSTREAM_SUFFIXES | suffixes, "bitstreams")
    hashes = {source: hashlib.sha256(data).hexdigest() for source, data in contents(sources)}
    by_hash, by_name = {digest: source for source, digest in hashes.items()}, _by_name(sources)
    pairs, lonely = [], []
    for picture in walk(pictures, PICTURE_SUFFIXES | {".json"} | BITSTREAM_SUFFIXES | suffixes, "pictures"):
        if PurePosixPath(picture.name).suffix.lower() in PICTURE_SUFFIXES:
            named = by_name.get(str(PurePosixPath(picture.name).with_suffix("")))
            certified = _certified(picture.path)
            # Of copies of one file, each has the picture of its name.
            if source := named if named and hashes[named] == certified else by_hash.get(certified) or named:
                pairs.append((picture.path, source))
            else:
                lonely.append(str(picture))
    used = {str(source) for _, source in pairs}
    return pairs, lonely, [str(source) for source in sources if str(source) not in used]


def _by_name(sources: Sequence[Source]) -> Mapping[str, Source]:
    """By what a picture of each is called, without its suffix."""
    stems = {str(PurePosixPath(source.name).with_suffix("")): source for source in sources}
    return {**stems, **{source.name: source for source in sources}}


def _certified(picture: Path) -> str:
    """The sha256 of the file that the certificate beside a picture is about; "" if there is none."""
    try:
        content = parse_json(read_file(beside(picture)))
        return str(content["bitstream"]["sha256"])
    except (IdemError, ValueError, KeyError, TypeError):
        return ""


def _verdict(catalogue: Catalogue, kept: KeptCodecs, options: RunOptions, picture: Path, source: Source) -> Verdict:
    from ..pipeline.codec import open_bitstream
    from ..pipeline.verify import readings, verdict

    runtime = options.runtime()
    opened = open_bitstream(source.content(), str(source), runtime, catalogue, None, kept, options.special)
    return verdict(opened, readings(picture, opened, options.colour()))


def _attempt(
    picture: Path, source: Source, look: Callable[[Path, Source], Verdict], tally: Tally, as_json: bool
) -> None:
    """Counts what a picture is; one that cannot be read does not stop the others."""
    try:
        found = look(picture, source)
    except Exception as error:
        tally.failed += 1
        tally.codes.add(tell(error, str(picture)))
        return
    if as_json:
        facts = {"exact": found.exact, "differing_symbols": found.differing_symbols}
        print_json({"image": str(picture), "bitstream": str(source), **facts})
    tally.exact += found.exact
    tally.not_exact += not found.exact
    if not found.exact:
        tally.codes.add(tell(NotExact(f"{picture} does not re-encode to {source}: {found.reason}.")))


def _note(names: Sequence[str], one: str, several: str, tally: Tally) -> None:
    if not names:
        return
    tally.codes.add(EXIT_FAILED)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    say(f"{', '.join(names[:NAMED])}{more} {one if len(names) == 1 else several}.")
