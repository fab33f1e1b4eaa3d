"""Small jobs for engines, in a module that every worker can import."""

from __future__ import annotations


def square(number: int) -> int:
    return number**2


def make_square() -> object:
    return square
