"""Texts of others (sellers' names, reasons, notes, a PSP's words), made fit for a terminal."""

_JOINERS = frozenset("\u200c\u200d")
"""Invisible, and part of how Hindi, Persian and others are written."""


def safe(text: str) -> str:
    """The text with `�` for each character that would steer the terminal or the order of what is read: control
    characters, those that turn the direction of writing, other invisible ones. Line breaks stay. As long as before."""
    if text.isprintable():
        return text
    return "".join(map(_safe, text))


def _safe(character: str) -> str:
    if character.isprintable() or character == "\n" or character in _JOINERS:
        return character
    return (
        " "
        if character.isspace() and not "\x00" <= character <= "\x1f" and character not in "\x85\u2028\u2029"
        else "\ufffd"
    )
