"""Textual's driver for the monitor of a browser tab: it ends with the server."""

import os

from textual.drivers.web_driver import WebDriver


class TabDriver(WebDriver):
    """Reads keys and sizes from the server's pipe, and writes cells to it."""

    def run_input_thread(self) -> None:
        """Take the server's messages until the pipe ends.

        The pipe ends before the monitor does if the server is gone, killed perhaps. Nobody could see or end the monitor
        then.
        """
        super().run_input_thread()
        if not self.exit_event.is_set():
            os._exit(1)
