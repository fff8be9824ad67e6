"""Writers of the Natural Scenes Dataset's files, with names, layouts and dtypes of NSD's manual."""

import csv
import json
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
from scipy.io import savemat

from ....arrays import Array
from ..captions import captions
from ..scenes import PICTURE_PX, render
from .anatomy import NSDGENERAL, STREAMS, VISUAL_AREAS, Anatomy
from .bold import TR_S, VOLUMES_PER_RUN, SimulatedRun
from .experiment import REPEATS, SLOT_S, TRIALS_PER_SESSION, Experiment, slots_of_session
from .seeds import generator

SPACE = "func1pt8mm"
BETAS_VERSION = "betas_fithrf_GLMdenoise_RR"
BETA_SCALE = 300  # stored = % signal change x 300
ATLASES = {"streams": STREAMS, "prf-visualrois": VISUAL_AREAS, "nsdgeneral": NSDGENERAL}
RESPONSE_COLUMNS = (
    "SUBJECT", "SESSION", "RUN", "TRIAL", "73KID", "10KID", "TIME", "ISOLD", "ISCORRECT", "RT", "CHANGEMIND",
    "MEMORYRECENT", "MEMORYFIRST", "ISOLDCURRENT", "ISCORRECTCURRENT", "TOTAL1", "TOTAL2", "BUTTON", "MISSINGDATA",
)  # fmt: skip


def write_experiment(root: Path, experiment: Experiment) -> None:
    """Write nsd_expdesign.mat, whose arrays hold integers as NSD's do, and nsd_stim_info_merged.csv."""
    folder = _folder(root / "nsddata/experiments/nsd")
    order = experiment.master_ordering
    n_sessions = len(experiment.stim_pattern)
    seen = np.stack([np.bincount(order[: TRIALS_PER_SESSION * n], minlength=order.max() + 1) for n in _to(n_sessions)])
    design = {
        "masterordering": order[None].astype(np.int32),
        "subjectim": experiment.subject_im.astype(np.int32),
        "sharedix": experiment.shared_ix[None].astype(np.int32),
        "stimpattern": experiment.stim_pattern.astype(np.uint8),
        # pictures shown at least once, twice, three times by the end of each session
        "basiccnt": np.stack([(seen >= n).sum(1) for n in _to(REPEATS)]).astype(np.int32),
    }
    savemat(folder / "nsd_expdesign.mat", design, do_compression=True)
    _write_stim_info(folder / "nsd_stim_info_merged.csv", experiment)


def write_pictures(root: Path, experiment: Experiment, batch: int = 250) -> Path:
    """Render every picture into nsd_stimuli.hdf5, and write the captions as COCO does; return the stimuli's path."""
    folder = _folder(root / "nsddata_stimuli/stimuli/nsd")
    n_pictures = len(experiment.scenes)
    shape = (n_pictures, PICTURE_PX, PICTURE_PX, 3)
    with h5py.File(folder / "nsd_stimuli.hdf5", "w") as stimuli:
        chunk = (1, *shape[1:])
        brick = stimuli.create_dataset(
            "imgBrick", shape, np.uint8, chunks=chunk, compression="gzip", compression_opts=1
        )
        for start in range(0, n_pictures, batch):
            scenes = experiment.scenes[start : start + batch]
            brick[start : start + len(scenes)] = np.stack([render(scene) for scene in scenes])
    _write_captions(_folder(folder / "annotations"), experiment)
    return folder / "nsd_stimuli.hdf5"


def write_anatomy(root: Path, subject: int, anatomy: Anatomy) -> None:
    """Write a subject's brain mask and ROI volumes, and the label tables."""
    folder = _folder(root / f"nsddata/ppdata/subj{subject:02d}/{SPACE}")
    _write_nifti(folder / "brainmask.nii.gz", anatomy.brainmask.astype(np.int16), anatomy.affine)
    volumes = {"streams": anatomy.streams, "prf-visualrois": anatomy.visual_areas, "nsdgeneral": anatomy.nsdgeneral}
    tables = _folder(root / "nsddata/freesurfer/fsaverage/label")
    for atlas, volume in volumes.items():
        hemispheres = {
            "": volume,
            "lh.": np.where(anatomy.right, -1, volume),
            "rh.": np.where(anatomy.right, volume, -1),
        }
        for prefix, part in hemispheres.items():
            path = _folder(folder / "roi") / f"{prefix}{atlas}.nii.gz"
            _write_nifti(path, part.astype(np.int16), anatomy.affine)
        rows = ["0 Unknown", *[f"{value} {label}" for label, value in ATLASES[atlas].items()]]
        (tables / f"{atlas}.mgz.ctab").write_text("\n".join(rows) + "\n")


def write_behaviour(root: Path, subject: int, experiment: Experiment, seed: int) -> None:
    """Write a subject's responses.tsv. Button presses are random, correct four times in five."""
    rng = generator(seed, f"subject {subject}: behaviour")
    path = _folder(root / f"nsddata/ppdata/subj{subject:02d}/behav") / "responses.tsv"
    last_seen: dict[tuple[str, int], int] = {}
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(RESPONSE_COLUMNS)
        for session in _to(experiment.n_sessions):
            slots = slots_of_session(experiment.stim_pattern, session)
            for trial, (run, slot) in enumerate(slots):
                number = (session - 1) * TRIALS_PER_SESSION + trial
                position = int(experiment.master_ordering[number])
                first, recent = last_seen.get(("first", position)), last_seen.get(("last", position))
                is_old, is_old_today = first is not None, recent is not None and recent >= number - trial
                is_correct, is_correct_today = rng.uniform(size=2) < 0.8
                button = 2 if is_old == is_correct else 1
                days = 737_000 + 7 * session + (run * 330 + slot * SLOT_S) / 86_400
                trial_in_run = trial - int((slots[:, 0] < run).sum()) + 1
                writer.writerow(
                    [
                        subject,
                        session,
                        run + 1,
                        trial_in_run,
                        experiment.subject_im[subject - 1, position - 1],
                        position,
                    ]
                    + [f"{days:.6f}", int(is_old), int(is_correct), round(rng.uniform(500, 1800)), 0]
                    + [number - recent - 1 if recent is not None else "NaN"]
                    + [number - first - 1 if first is not None else "NaN"]
                    + [int(is_old_today), int(is_correct_today), int(button == 1), int(button == 2), button, 0]
                )
                last_seen.setdefault(("first", position), number)
                last_seen["last", position] = number


def write_betas(root: Path, subject: int, session: int, betas: Array, affine: Array) -> None:
    """Write a session's betas, (750, X, Y, Z) int16, as NSD does twice: hdf5 and NIfTI."""
    folder = _folder(betas_folder(root, subject))
    with h5py.File(folder / f"betas_session{session:02d}.hdf5", "w") as file:
        file.create_dataset("betas", data=betas.transpose(0, 3, 2, 1), chunks=(len(betas), 1, 1, 1))
    _write_nifti(folder / f"betas_session{session:02d}.nii.gz", np.moveaxis(betas, 0, -1), affine)


def write_ncsnr(root: Path, subject: int, ncsnr: Array, affine: Array) -> None:
    """Write a subject's noise-ceiling SNR, (X, Y, Z) float32."""
    _write_nifti(_folder(betas_folder(root, subject)) / "ncsnr.nii.gz", ncsnr.astype(np.float32), affine)


def write_run(root: Path, subject: int, session: int, run: int, volumes: Array, affine: Array) -> None:
    """Write a run's volumes, (X, Y, Z, 226) int16; `run` counts from 1."""
    folder = _folder(_timeseries_folder(root, subject) / "timeseries")
    image = nib.Nifti1Image(volumes, affine)
    image.header.set_zooms((*image.header.get_zooms()[:3], TR_S))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, folder / f"timeseries_session{session:02d}_run{run:02d}.nii.gz")


def write_run_tables(
    root: Path, subject: int, session: int, run: int, simulated: SimulatedRun, slots: Array, ids: Array
) -> None:
    """Write a run's motion and design; the design has a row a volume: the 1-based 73k id at onsets, else 0."""
    name = f"session{session:02d}_run{run:02d}.tsv"
    folder = _timeseries_folder(root, subject)
    np.savetxt(_folder(folder / "motion") / f"motion_{name}", simulated.motion, "%.5f", "\t")
    design = np.zeros(VOLUMES_PER_RUN, np.int64)
    design[slots * round(SLOT_S / TR_S)] = ids
    np.savetxt(_folder(folder / "design") / f"design_{name}", design, "%d")


def write_scenes(path: Path, experiment: Experiment) -> None:
    """Write a table of the pictures' contents, one row per id. NSD has no such file."""
    columns = ("kind", "category", "size", "place", "above", "below", "extent", "x", "y", "horizon")
    rows = ["\t".join(("nsd_id", *columns))]
    for id_, scene in enumerate(experiment.scenes):
        values = [getattr(scene, column) for column in columns]
        rows.append("\t".join([str(id_), *[f"{v:.4f}" if isinstance(v, float) else str(v) for v in values]]))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def betas_folder(root: Path, subject: int) -> Path:
    """Return the folder of a subject's betas."""
    return root / f"nsddata_betas/ppdata/subj{subject:02d}/{SPACE}/{BETAS_VERSION}"


def _timeseries_folder(root: Path, subject: int) -> Path:
    return root / f"nsddata_timeseries/ppdata/subj{subject:02d}/{SPACE}"


def _write_stim_info(path: Path, experiment: Experiment) -> None:
    """Write the table of all pictures: COCO source, subjects and trials (from 1)."""
    order = experiment.master_ordering
    trials = np.argsort(order, kind="stable").reshape(-1, REPEATS) + 1  # of each position in a subject's row
    subjects = range(1, len(experiment.subject_im) + 1)
    columns = ["", "cocoId", "cocoSplit", "cropBox", "loss", "nsdId", "flagged", "BOLD5000", "shared1000"]
    columns += [f"subject{subject}" for subject in subjects]
    columns += [f"subject{subject}_rep{repeat}" for subject in subjects for repeat in range(REPEATS)]
    position_of = [{int(id_): n for n, id_ in enumerate(row) if id_ > 0} for row in experiment.subject_im]
    shared = set(experiment.shared_ix.tolist())
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for id_ in range(len(experiment.scenes)):
            positions = [row.get(id_ + 1) for row in position_of]
            row = [id_, experiment.coco_ids[id_], experiment.coco_splits[id_], "(0.0, 0.0, 0.0, 0.0)", 0.0, id_]
            row += [False, False, id_ + 1 in shared, *[int(position is not None) for position in positions]]
            for position in positions:
                row += [0] * REPEATS if position is None else trials[position].tolist()
            writer.writerow(row)


def _write_captions(folder: Path, experiment: Experiment) -> None:
    """Write captions_{train,val}2017.json, five captions a picture, with COCO's field names."""
    annotations: dict[str, list[dict[str, Any]]] = {"train2017": [], "val2017": []}
    for id_, scene in enumerate(experiment.scenes):
        for n, caption in enumerate(captions(scene)):
            annotation = {"image_id": int(experiment.coco_ids[id_]), "id": 5 * id_ + n + 1, "caption": caption}
            annotations[experiment.coco_splits[id_]].append(annotation)
    for split, rows in annotations.items():
        (folder / f"captions_{split}.json").write_text(json.dumps({"annotations": rows}))


def _write_nifti(path: Path, volume: Array, affine: Array) -> None:
    nib.save(nib.Nifti1Image(volume, affine), path)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _to(n: int) -> range:
    return range(1, n + 1)
