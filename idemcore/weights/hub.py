"""Repositories of the Hugging Face Hub, brought into its own cache for plugins that load whole pipelines.

Only settings and .safetensors come: nothing that could run code. HF_ENDPOINT, HF_HOME and HF_TOKEN mean what they mean
to the library, which goes on with a file where an interruption left it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import IdemError, InputError, MissingError, UsageError

PREFIX = "hf:"
SUFFIXES = (".json", ".txt", ".model", ".safetensors")
"""What comes of a repository: settings, vocabularies, tensors."""
HALF = ".fp16"
"""In the names of tensors in half precision, which come in place of others beside them."""
_NAME = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class Pulled:
    """What was brought."""

    repository: str
    commit: str
    """40 hex digits."""
    path: Path
    """The folder of that commit, which stays what it is."""


def pull_repository(name: str) -> Pulled:
    """Brings `OWNER/NAME` or `OWNER/NAME@REVISION`, at the commit that the revision (else `main`) stands for now.

    Raises UsageError for another form, MissingError without the library or if there is no such repository, InputError
    for one without .safetensors, IdemError if the server cannot be reached or the connection ends.
    """
    parts = _NAME.fullmatch(name)
    if not parts:
        raise UsageError(f"'{name}' is not a repository.", "Type hf:OWNER/NAME, or hf:OWNER/NAME@REVISION.")
    repository, revision = parts["repository"], parts["revision"] or "main"
    try:
        import huggingface_hub as hub
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise MissingError("The package huggingface-hub is not here.", "pip install idemcore-diffusers") from error
    try:
        found = hub.model_info(repository, revision=revision)
        files = wanted([file.rfilename for file in found.siblings or ()])
        _check_files(repository, files)
        folder = hub.snapshot_download(repository, revision=revision, allow_patterns=files)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise MissingError(f"There is no {name} at {_endpoint()}.", "HF_TOKEN opens private ones.") from error
    except IdemError:
        raise
    except Exception as error:
        if not _of_connection(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise IdemError(f"Cannot bring {name} from {_endpoint()}: {reason}.", "Type it again: it goes on.") from error
    return Pulled(repository, Path(folder).name, Path(folder))


def local_repository(name: str) -> Path | None:
    """The folder here of what `OWNER/NAME[@REVISION]` stands for; None for what is not here, or no such name."""
    parts = _NAME.fullmatch(name)
    if not parts:
        return None
    try:
        import huggingface_hub as hub
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:
        return None
    try:
        return Path(hub.snapshot_download(parts["repository"], revision=parts["revision"], local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def wanted(names: Sequence[str]) -> list[str]:
    """Chooses the files of a repository to pull.

    Of a pipeline, not the copies of all its parts in single files at the top; of a part that is there in half precision
    too, only that: it is half the bytes, and what large models run in.
    """
    kept = [name for name in names if name.endswith(SUFFIXES)]
    tensors = [name for name in kept if name.endswith(".safetensors")]
    pipeline = "model_index.json" in kept
    halved = {_folder(name) for name in tensors if HALF in name}
    left_out = {
        name for name in tensors if (pipeline and not _folder(name)) or (_folder(name) in halved and HALF not in name)
    }
    return [name for name in kept if name not in left_out]


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _check_files(repository: str, names: Sequence[str]) -> None:
    if not any(name.endswith(".safetensors") for name in names):
        raise InputError(
            f"{repository} holds no .safetensors, and other weights may run code when they are read.",
            "Choose a repository or a revision that has them, such as hf:OWNER/NAME@refs/pr/1.",
        )


def _of_connection(error: Exception) -> bool:
    """The library's clients changed from requests to httpx and on; each has errors of its own."""
    return isinstance(error, OSError) or type(error).__module__.startswith(("requests", "httpx", "huggingface_hub"))


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)
