"""Names from outside, made harmless for a terminal and a table."""

from __future__ import annotations

import unicodedata

# Control, format (right-to-left marks, zero-width), surrogate (bytes that are
# not UTF-8), private use, unassigned, line and paragraph separators.
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def shown(text: str) -> str:
    r"""`text` on one line, with every unsafe character as \xNN, \uNNNN or \UNNNNNNNN.

    A byte that was not UTF-8 (surrogateescape) is shown as that byte.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _UNSAFE:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def encodable(text: str) -> str:
    """`text` with only the bytes that were not UTF-8 escaped: valid in JSON and CSV."""
    if text.isascii():
        return text
    return "".join(_shown(each) if unicodedata.category(each) == "Cs" else each for each in text)
