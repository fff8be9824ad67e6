"""Send volumes to `braind serve` as a scanner would, and hear what is decoded from them.

    python examples/scanner_client.py BETAS.nii.gz [--host HOST --ingest 5560 --decodes 5561 --control 5562 --key FILE]

BETAS is a 4-D NIfTI file whose volumes are single-trial betas, in % signal change, on the grid of the served weights.
This needs braind.client only: it runs on a scanner's console, without torch.
"""

# %% What goes in
import argparse
import signal
from pathlib import Path

import nibabel as nib
import numpy as np

from braind.client.scanner import ScannerClient
from braind.client.subscriber import DecodeSubscriber
from braind.client.wire import Decode, Hello, Skipped, last_stage

parser = argparse.ArgumentParser()
parser.add_argument("betas", type=Path)
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--ingest", type=int, default=5560)
parser.add_argument("--decodes", type=int, default=5561)
parser.add_argument("--control", type=int, default=5562)
parser.add_argument("--key", type=Path, help="key file, for a daemon that requires keys")
parser.add_argument("--pictures", type=Path, default=Path("pictures"), help="folder for the decoded pictures")
options = parser.parse_args()

# A program such as `head` may close the pipe that it reads: end quietly then.
if hasattr(signal, "SIGPIPE"):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)

image = nib.load(options.betas)
volumes = np.moveaxis(np.asarray(image.dataobj, np.float32), -1, 0)  # (n, X, Y, Z)
options.pictures.mkdir(exist_ok=True)

# %% Say what will come
# The daemon checks it against its weights: a wrong grid or subject is refused here, with a sentence, not halfway.
hello = Hello(
    session="example",
    run=options.betas.name.split(".")[0],
    subject=1,
    kind="beta",  # one volume a trial; "bold" is one a TR, with trial onsets sent beside them
    shape=volumes.shape[1:],
    affine=tuple(map(tuple, image.affine.tolist())),
    tr_s=4.0,
    dtype="float32",
)

# %% Send, and listen
with (
    DecodeSubscriber(options.host, options.decodes, options.control, key=options.key, history=0) as subscriber,
    ScannerClient(options.host, options.ingest, options.key) as client,
):
    subscriber.receive(timeout_s=10)  # a heartbeat: from here on nothing published is missed
    welcome = client.open_run(hello)
    # A run that was cut off goes on where it stopped: next_index is 0 for a new one.
    for index in range(welcome.next_index, len(volumes)):
        client.send_volume(volumes[index], index)  # returns once the volume is on the daemon's disk
        print(f"volume {index} is safe")
    client.end_run(len(volumes))

    # %% Each volume is decoded in stages: scores, then a coarse picture from z (xz), then the picture (xzc)
    # Weights that decode classes and no pictures (mode "labels") end with the scores.
    waiting = set(range(welcome.next_index, len(volumes)))
    while waiting and (received := subscriber.receive(timeout_s=60)):
        message = received.message
        if not isinstance(message, Decode | Skipped) or message.run != hello.run:
            continue  # a heartbeat, or somebody else's run
        if isinstance(message, Skipped):
            print(f"volume {message.index} has no picture: {message.reason}")
            waiting.discard(message.index)
        elif message.stage == "scores":
            if message.retrieved:
                print(f"volume {message.index} is most like: {message.retrieved[0].label}")
            if message.labels:
                classes = ", ".join(f"{name} {probability:.2f}" for name, probability in received.probabilities.items())
                print(f"volume {message.index}: {classes}")
        elif message.stage == "xzc":
            path = options.pictures / f"volume-{message.index:03d}.png"
            path.write_bytes(received.png or b"")
            print(f"{path}, {1000 * message.timings_s['xzc']:.0f} ms after the volume came")
        if isinstance(message, Decode) and message.stage == last_stage(message.provenance.mode):
            waiting.discard(message.index)
