"""The one exception that the command line turns into a message."""


class ClusterError(Exception):
    """Something the user can act on: what went wrong and, in `hint`, what to install or run."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\n{hint}" if hint else message)
        self.message = message
        self.hint = hint
