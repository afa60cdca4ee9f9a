"""Text from names, files and messages, made safe for a terminal."""

from __future__ import annotations


def printable(text: object) -> str:
    r"""One line in which every character that does not print is its escape: "a\x1b[2Jb\n" -> r"a\x1b[2Jb\n".

    The characters are those that `str.isprintable` refuses: control characters, ends of lines, marks that reverse the
    direction of a text, and what a file name that is not UTF-8 is decoded to.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def printable_lines(text: str) -> str:
    """The same of every line of a text whose newlines are its own, such as a table."""
    return "\n".join(map(printable, text.split("\n")))
