"""The root of every error that braind raises on purpose."""


class BraindError(Exception):
    """Something a user can put right: says what was wrong, where, and what to do.

    `code` is stable: it is what a `Refused` message carries and what scripts may test for.
    """

    code = "error"

    def __init__(self, sentence: str, *, code: str | None = None) -> None:
        super().__init__(sentence)
        if code is not None:
            self.code = code
