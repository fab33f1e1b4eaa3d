"""`idem store`: what sweeps keep. List stores, take out what nothing needs, merge them, copy a part. No torch."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ..errors import EXIT_OK, UsageError
from .options import FOLDER, INPUT, json_option
from .output import print_json, print_record, print_table, say


@click.group()
def store() -> None:
    """The folders that `idem sweep` keeps its runs in."""


@store.command("list")
@click.argument("folders", nargs=-1, type=INPUT, metavar="[FOLDER]...")
@json_option
def list_(folders: tuple[str, ...], as_json: bool) -> int:
    """List what each store holds. A FOLDER is a store, or contains stores.  [default: runs]"""
    from ..sweeps.store import Store
    from ..sweeps.upkeep import holding, stores_below

    found = [holding(Store.open(path)) for folder in folders or ("runs",) for path in stores_below(Path(folder))]
    if as_json:
        print_json([one.to_json() for one in found])
        return EXIT_OK
    if not found:
        raise UsageError(f"There is no store in {', '.join(folders or ('runs',))}.", "`idem sweep` makes one.")
    head = ("store", "runs", "failed", "configurations", "images", "MB", "last run", "")
    print_table(head, [
        (one.store, one.runs, one.failed, one.configurations, one.images, f"{one.bytes / 1e6:.1f}",
         time.strftime("%Y-%m-%d %H:%M", time.localtime(one.changed)) if one.changed else "-",
         "being written" if one.is_written else "")
        for one in found
    ])  # fmt: skip
    return EXIT_OK


@store.command()
@click.argument("folder", type=INPUT, metavar="STORE")
@click.option("--failed", is_flag=True, help="Also delete failed runs.")
@click.option("--outdated", is_flag=True, help="Also delete runs that were repeated with later versions or weights.")
@click.option("--yes", is_flag=True, help="Delete; without it, the command only says what it would delete.")
@json_option
def prune(folder: str, failed: bool, outdated: bool, yes: bool, as_json: bool) -> None:
    """Delete what nothing needs: lines that later ones replaced, and pictures that no run refers to."""
    from ..sweeps.store import Store
    from ..sweeps.upkeep import prune as pruned

    litter = pruned(Store.open(folder), failed, outdated, only_say=not yes)
    facts = {"store": folder, "deleted": yes, "lines": litter.lines, "runs": litter.rows,
             "pictures": len(litter.pictures), "bytes": litter.bytes}  # fmt: skip
    (print_json if as_json else print_record)(facts)
    if not yes and (litter.lines or litter.rows or litter.pictures):
        say("nothing was deleted; add --yes to delete it")


@store.command()
@click.argument("folders", nargs=-1, required=True, type=INPUT, metavar="STORE...")
@click.option("-o", "--output", required=True, type=FOLDER, metavar="STORE", help="A new store, or one to add to.")
@json_option
def merge(folders: tuple[str, ...], output: str, as_json: bool) -> None:
    """Copy the runs of several stores into one, with their pictures; each run once."""
    _copy(folders, output, (), as_json)


@store.command("filter")
@click.argument("folder", type=INPUT, metavar="STORE")
@click.argument("words", nargs=-1, required=True, metavar="KEY=VALUES...")
@click.option("-o", "--output", required=True, type=FOLDER, metavar="STORE", help="A new store, or one to add to.")
@json_option
def filter_(folder: str, words: tuple[str, ...], output: str, as_json: bool) -> None:
    """Copy the runs of STORE that have one of the values of every key.

    \b
    idem store filter runs/all solver=cell,dps quality=5..20 status=ok -o runs/part

    Keys are those of a sweep, and image (the file's name) and status (ok or failed).
    """
    _copy((folder,), output, words, as_json)


def _copy(folders: tuple[str, ...], output: str, words: tuple[str, ...], as_json: bool) -> None:
    from ..sweeps.store import Store
    from ..sweeps.upkeep import condition, copy_runs

    sources, wanted = [Store.open(folder) for folder in folders], condition(words)
    if not any(wanted(row) for source in sources for row in source.rows()):
        raise UsageError(f"No run of {', '.join(folders)} is wanted.", "`idem report STORE --format csv` lists them.")
    added, there = copy_runs(sources, Store(output), wanted)
    facts = {"store": output, "added": added, "there already": there}
    (print_json if as_json else print_record)(facts)
