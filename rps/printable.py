"""Makes text from names, files and messages safe for a terminal."""

from __future__ import annotations


def printable(text: object) -> str:
    r"""One line in which every non-printable character is escaped: "a\x1b[2Jb\n" -> r"a\x1b[2Jb\n".

    Non-printable as in `str.isprintable`: control characters, line ends, marks that reverse the direction of text, and
    the surrogates in decoded file names that are not UTF-8.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def printable_lines(text: str) -> str:
    """`printable` for every line of a text whose line ends are kept, such as a table."""
    return "\n".join(map(printable, text.split("\n")))
