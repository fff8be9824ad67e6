"""The error of a start that is refused for the sake of safety."""

from ...errors import BraindError


class AccessError(BraindError):
    """An address that must not be bound, a data folder that another daemon uses, or keys that cannot be used."""

    code = "access"
