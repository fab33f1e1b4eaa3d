"""What `idem decode` says of one file, alone or in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotExact

if TYPE_CHECKING:
    from ..pipeline.decode_file import Decoded
    from ..results.certificate import Certificate


def not_exact(found: Certificate, file: Path | str, output: Path | str) -> NotExact:
    """What --require-exact says."""
    message = f"{output} does not re-encode to {file}: {found.differing_symbols} symbols differ."
    hint = "A plain decode seldom re-encodes to its file: leave out --mse, or use --tradeoff 0 instead."
    return NotExact(message, hint if found.solver is None else found.reason or "Try another --seed.")


def facts(decoded: Decoded, output: Path | str, jpeg: Path | str | None) -> dict[str, Any]:
    """What --json prints of a file."""
    result = decoded.result
    return {
        **decoded.certificate.to_json(),
        "file": str(output),
        **({"jpeg": str(jpeg)} if jpeg else {}),
        "nfe": result.nfe,
        "seconds": result.seconds,
    }
