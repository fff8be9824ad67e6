"""Decode one volume by hand, step by step, with `braind.models` alone.

    python examples/decode_one_volume.py WEIGHTS BETAS [TRIAL [PICTURE.png]]

WEIGHTS is what `braind fit` wrote, such as weights/subj01.safetensors in braind's data folder. BETAS is a session of
single-trial betas as the Natural Scenes Dataset keeps them, such as betas_session01.hdf5.
"""

# %% What goes in
import argparse
import signal
from pathlib import Path

import h5py
from PIL import Image

from braind.models.ldm.model import LatentDiffusionModel
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.presets import PRESETS
from braind.models.weights.weights import Weights

parser = argparse.ArgumentParser()
parser.add_argument("weights", type=Path)
parser.add_argument("betas", type=Path)
parser.add_argument("trial", type=int, nargs="?", default=0)
parser.add_argument("picture", type=Path, nargs="?", default=Path("decoded.png"))
options = parser.parse_args()
weights_path, betas_path, trial, picture_path = options.weights, options.betas, options.trial, options.picture

# A program such as `head` may close the pipe that it reads: end quietly then.
if hasattr(signal, "SIGPIPE"):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)

# %% One volume
# MATLAB wrote X, Y, Z, trial; h5py reads the axes in reverse. The betas are 300 times the % signal change.
with h5py.File(betas_path) as file:
    volume = file["betas"][trial].T / 300
print(f"trial {trial}: a volume of {volume.shape}")

# %% The voxels that the decoder reads
# The weights know the grid that they were fitted on. A volume of another grid would give a picture too, of nothing.
weights = Weights.load(weights_path)
weights.check_volume(volume.shape, weights.card.affine)
voxels = volume.reshape(-1)[weights.voxel_index]
print(f"{len(voxels)} voxels of {', '.join(weights.card.z_rois + weights.card.c_rois)}")

# %% From voxels to z and c: one linear map each
(z,), (c,) = weights.predict(voxels[None])
print(f"z {z.shape}: the picture's latent; c {c.shape}: what a text encoder would say of its caption")

# %% From z and c to a picture
# No path: the small diffusion model that braind ships. It must be the one that the weights were fitted for.
ldm = LatentDiffusionModel.load()
weights.check_ldm(ldm.fingerprint)
reconstructor = Reconstructor(ldm, PRESETS["live-1"], seed=42)
layout = reconstructor.picture(z, c, "z")  # z alone: where what colour was
both = reconstructor.picture(z, c, "zc")  # z noised, and denoised under c

# %% Side by side: z alone, and both
sheet = Image.new("RGB", (2 * layout.shape[1], layout.shape[0]))
sheet.paste(Image.fromarray(layout), (0, 0))
sheet.paste(Image.fromarray(both), (layout.shape[1], 0))
sheet.save(picture_path)
print(picture_path)
