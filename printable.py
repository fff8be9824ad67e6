"""Text from the wire, safe on one line: senders choose names and captions freely."""


def printable(text: str) -> str:
    """Return the text with every control character and line break replaced by a space."""
    return "".join(character if character.isprintable() else " " for character in text)
