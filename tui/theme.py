"""The monitor's colours."""

from textual.theme import Theme

# The greys are so unsaturated that the nearest of 256 colours is grey too.
CONTROL_ROOM = Theme(
    name="control-room",
    primary="#6f8f9c",
    secondary="#4a5b63",
    accent="#8aa5b0",
    warning="#c4a15c",
    error="#c06a63",
    success="#7da083",
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
