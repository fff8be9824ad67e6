"""The monitor's keys, and the lines of its palette."""

from collections.abc import Iterator

from textual.binding import Binding, BindingType

BINDINGS: list[BindingType] = [
    Binding("q", "quit", "Quit", id="monitor.quit", tooltip="Leave the monitor; the daemon goes on"),
    Binding("question_mark", "help", "Help", key_display="?", id="monitor.help", tooltip="Words and keys"),
    Binding("p", "pause", "Pause", id="monitor.pause", tooltip="Pause decoding, or go on"),
    Binding("right", "older", "Older", id="monitor.older", tooltip="Hold the next older decode of the strip"),
    Binding("left", "newer", "Newer", id="monitor.newer", tooltip="Hold the next newer decode of the strip"),
    Binding("f,escape", "follow", "Follow", id="monitor.follow", tooltip="Show the newest decode again"),
    Binding("z", "zoom", "Zoom", id="monitor.zoom", tooltip="One picture, as large as the terminal allows"),
    Binding("t", "trials", "Trials", id="monitor.trials", tooltip="Every trial of the session in a table"),
    Binding("y", "quality", "Quality", id="monitor.quality", tooltip="Signal, motion and gaps of each run"),
    Binding("e", "events", "Events", id="monitor.events", tooltip="Notices, alarms and changes, with times"),
    Binding("d", "sessions", "Sessions", id="monitor.sessions", tooltip="Recorded sessions of this machine"),
    Binding("c", "operate('control')", "Control", id="monitor.control", tooltip="Preset, mode, policy, refinement"),
    Binding("m", "operate('mark')", "Mark", id="monitor.mark", tooltip="Note an event; the journal keeps it"),
    Binding("u", "operate('setup')", "Setup", id="monitor.setup", tooltip="Checks, clients, journal and disk"),
    Binding("k", "operate('calibration')", "Calibration", id="monitor.calibration", tooltip="Trials and score so far"),
    Binding("b", "switch_bell", "Bell", id="monitor.bell", tooltip="Switch the alarms' bell off or on"),
    Binding("s", "save_screen", "Save", id="monitor.save", tooltip="Save a picture of the screen as SVG"),
]
"""The most important first: a narrow terminal shows only the first keys."""


def palette(*, is_live: bool, paused: bool, bell_is_on: bool) -> Iterator[tuple[str, str, str]]:
    """Yield the title of each line of the palette, its explanation and the monitor's action.

    Parameters
    ----------
    is_live : whether the Live screen is on show
    paused : whether decoding is paused
    bell_is_on : whether alarms ring
    """
    if is_live:
        yield "view: Follow the newest decode", "Leave the decode that is held", "follow"
        yield "view: Zoom a picture", "As large as the terminal allows", "zoom"
    yield "view: Trials", "Every trial of the session in a table", "trials"
    yield "view: Quality", "Signal, motion and gaps of each run", "quality"
    yield "view: Events", "Notices, alarms and changes, with times", "events"
    yield "view: Sessions", "Recorded sessions of this machine", "sessions"
    yield "decoding: Control", "Pause, preset, mode, policy and refinement", "operate('control')"
    pause = "decoding: Go on" if paused else "decoding: Pause"
    yield pause, "For everybody; volumes are acked meanwhile", "pause"
    yield "session: Mark an event", "With a note; the session's journal keeps it", "operate('mark')"
    calibration = "Seen picture, trials and minutes so far, and the score's curve"
    yield "session: Calibration", calibration, "operate('calibration')"
    yield "daemon: Setup", "Checks, connected clients, journal and disk", "operate('setup')"
    bell = "alarms: Switch the bell off" if bell_is_on else "alarms: Switch the bell on"
    yield bell, "Daemon unreachable, no volume, decoder died, misaligned", "switch_bell"
    yield "monitor: Help", "Words and keys", "help"
    yield "monitor: Change the theme", "Colours of the monitor", "change_theme"
    yield "monitor: Save a picture of the screen", "As SVG", "save_screen"
    yield "monitor: Quit", "The daemon goes on", "quit"
