"""The signs of numbers, for people. Files and lines that machines read keep the plain hyphen-minus."""

MINUS = "−"


def number(value: float, spec: str) -> str:
    """Format a number with a true minus sign. A value that rounds to zero has no sign at all.

    A stream whose encoding lacks the sign gets the hyphen-minus (`console.py`).

    Parameters
    ----------
    spec : str
        Python's format, such as ".3f" or "+.3f".
    """
    text = f"{float(value):z{spec.removeprefix('+')}}".replace("-", MINUS)
    is_above_zero = value > 0 and any(digit in text for digit in "123456789")
    return f"+{text}" if spec.startswith("+") and is_above_zero else text
