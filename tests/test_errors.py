"""Errors cross from workers to their parent."""

from __future__ import annotations

import pickle

from idemcore.errors import IdemError, UsageError
from idemcore.plugins.catalogue import NotInstalled


def test_every_error_comes_back_from_a_worker() -> None:
    """A pickle calls the class with the message alone, whatever it was made of."""
    kinds = [IdemError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert {NotInstalled, UsageError} <= set(kinds)
    for kind in kinds:
        error = kind({"codec 'jpeg'": "idemcore-jpeg"}) if kind is NotInstalled else kind("It broke.", "Mend it.")
        error.message = f"a.jpg: {error.message}"
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))
