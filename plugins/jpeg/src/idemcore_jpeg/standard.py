"""The Huffman tables of ITU-T T.81, annex K.3, as a DHT segment holds them: 16 numbers of codes, then the symbols.

Motion JPEG leaves them out of its frames: whoever decodes one is to supply them.
"""

from __future__ import annotations


def _dc(lengths: str) -> bytes:
    return bytes.fromhex(lengths) + bytes(range(12))


def _ac(lengths: str, symbols: str) -> bytes:
    """`symbols` are the first ones, which have the short codes; all others follow in order."""
    first = bytes.fromhex(symbols)
    every = [0x00, 0xF0, *(run << 4 | size for run in range(16) for size in range(1, 11))]
    return bytes.fromhex(lengths) + first + bytes(symbol for symbol in sorted(every) if symbol not in first)


DC_TABLES = {0: _dc("00010501010101010100000000000000"), 1: _dc("00030101010101010101010000000000")}
AC_TABLES = {
    0: _ac(
        "0002010303020403050504040000017d",
        "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282",
    ),
    1: _ac(
        "00020102040403040705040400010277",
        "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a",
    ),
}
