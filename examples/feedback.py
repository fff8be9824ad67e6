"""Show the decoded picture as soon as it is made, and the score before it: a neurofeedback display to start from.

    python examples/feedback.py [--terminal] [--host HOST --decodes 5561 --control 5562 --key FILE]

Run `braind serve`, then this, then whatever sends volumes. The score is right minus foil, where the sender names two
pictures (`right` and `foil` of docs/protocol.md); else the most similar picture is named. Weights with classes give a
probability of each class, at every TR of a running block. A window is opened where tkinter and a screen are there, else
the picture is drawn in the terminal. It needs no torch.
"""

# %% Options
import argparse
import signal

try:
    import tkinter
except ImportError:
    tkinter = None

import numpy as np
from PIL import Image

from braind.client.subscriber import DecodeSubscriber, Received
from braind.client.wire import Decode

parser = argparse.ArgumentParser()
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--decodes", type=int, default=5561)
parser.add_argument("--control", type=int, default=5562)
parser.add_argument("--key", help="key file, for a daemon that requires keys")
parser.add_argument("--terminal", action="store_true", help="draw in the terminal, even if a window could be opened")
parser.add_argument("--pictures", type=int, help="end after so many")
options = parser.parse_args()

# A program such as `head` may close the pipe that it reads: end quietly then.
if hasattr(signal, "SIGPIPE"):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
# Ctrl-C ends it without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)


# %% The score: it comes some ms after the volume, long before the picture
def score_words(received: Received, decode: Decode) -> str:
    words = []
    if decode.feedback is not None:
        words.append(f"feedback {decode.feedback:+.3f} (right: {decode.right}, foil: {decode.foil})")
    elif received.labels:
        words.append(f"most like {received.labels[0]}, {received.scores[0]:.2f}")
    # A target class of your own serves as well as the sender's: received.probabilities["face"].
    if decode.label in received.probabilities:
        words.append(f"P({decode.label}) = {received.probabilities[decode.label]:.2f}")
    words += [f"{name} {probability:.2f}" for name, probability in received.probabilities.items()]
    return ", ".join(words) or "no candidates"


# %% The picture, in a terminal of 24-bit colours: two pixels a character
def draw_in_terminal(picture: np.ndarray) -> None:
    pixels = np.asarray(Image.fromarray(picture).resize((48, 48), Image.Resampling.BOX))
    for upper, lower in zip(pixels[0::2].tolist(), pixels[1::2].tolist(), strict=True):
        cells = (f"\x1b[38;2;{r};{g};{b};48;2;{R};{G};{B}m▀" for (r, g, b), (R, G, B) in zip(upper, lower, strict=True))
        print("".join(cells) + "\x1b[0m", flush=True)


# %% The picture, in a window
class Window:
    def __init__(self) -> None:
        from PIL import ImageTk

        self.photo = ImageTk.PhotoImage
        self.root = tkinter.Tk()
        self.root.title("decoded")
        self.label = tkinter.Label(self.root, background="black")
        self.label.pack()

    def draw(self, picture: np.ndarray) -> None:
        enlarged = Image.fromarray(picture).resize((512, 512), Image.Resampling.NEAREST)
        self.shown = self.photo(enlarged)  # kept: tkinter itself does not
        self.label.configure(image=self.shown)


def open_window() -> Window | None:
    if options.terminal or tkinter is None:
        return None
    try:
        return Window()
    except (ImportError, tkinter.TclError) as error:  # TclError: there is no screen
        print(f"no window ({error}); drawing here", flush=True)
        return None


# %% Listen. What came while this was busy is passed over: feedback that is late is wrong
window = open_window()
draw = window.draw if window else draw_in_terminal
n_drawn, is_heard = 0, False
with DecodeSubscriber(
    options.host,
    options.decodes,
    options.control,
    key=options.key,
    stages=("scores", "xzc"),
    newest_only=True,
) as subscriber:
    print("waiting for the daemon", flush=True)
    while options.pictures is None or n_drawn < options.pictures:
        received = subscriber.receive(timeout_s=0.02 if window else None)
        if window:
            window.root.update()
        if received is None or not isinstance(received.message, Decode):
            if received is not None and not is_heard:
                print("the daemon is heard", flush=True)
                is_heard = True
            continue
        decode = received.message
        if decode.stage == "scores":
            age = "" if decode.since_onset_s is None else f", {decode.since_onset_s:.1f} s after onset"
            age += "" if decode.is_final else ", provisional"
            print(f"volume {decode.index}{age}: {score_words(received, decode)}", flush=True)
        elif received.picture is not None:
            draw(received.picture)
            n_drawn += 1
            print(f"volume {decode.index}: drawn {1000 * decode.timings_s['xzc']:.0f} ms after it came", flush=True)
