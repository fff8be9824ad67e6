"""The operator's screens."""

from functools import partial

from textual.screen import Screen

from ...client.endpoints import Endpoints
from ..feed import send_mark
from ..state.monitor_state import MonitorState
from .calibration import CalibrationScreen
from .control import ControlScreen
from .mark import MarkDialog
from .setup import SetupScreen


def operator_screen(name: str, state: MonitorState, where: Endpoints) -> Screen[None]:
    """Return a new screen: control, mark, setup or calibration."""
    match name:
        case "control":
            return ControlScreen(state, where)
        case "mark":
            return MarkDialog(partial(send_mark, where))
        case "setup":
            return SetupScreen(state, where)
        case _:
            return CalibrationScreen(state, where)
