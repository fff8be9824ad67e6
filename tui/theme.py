"""The monitor's colours.

Good, warning and bad are blue-green, light amber and dark red. They differ in lightness and in blue, which an
eye without red, green or blue receptors sees too.
"""

from textual.theme import Theme

# The greys are so unsaturated that the nearest of 256 colours is grey too.
CONTROL_ROOM = Theme(
    name="control-room",
    primary="#6f8f9c",
    secondary="#4a5b63",
    accent="#8aa5b0",
    warning="#dcbf6a",
    error="#c4574a",
    success="#5fa8a0",
    foreground="#b4babe",
    background="#0c0d0e",
    surface="#17191b",
    panel="#1b1d1f",
    dark=True,
    variables={
        "text-muted": "#767c80",
        "text-disabled": "#515659",
        "footer-key-foreground": "#8aa5b0",
        "footer-description-foreground": "#767c80",
    },
)

# For a room without other light: black, and warm greys, which spare an eye that is used to the dark.
DARK_ROOM = Theme(
    name="dark-room",
    primary="#6e6256",
    secondary="#463f38",
    accent="#857565",
    warning="#a68c44",
    error="#9c3f30",
    success="#3f7a75",
    foreground="#857c72",
    background="#000000",
    surface="#0b0a09",
    panel="#0d0c0b",
    dark=True,
    variables={
        "text-muted": "#655e57",
        "text-disabled": "#433f3a",
        "footer-key-foreground": "#857565",
        "footer-description-foreground": "#655e57",
    },
)
