"""A whole simulated Natural Scenes Dataset: subjects, sessions and pictures in NSD's own files.

The tree is written beside its place and moved there when it is whole, so half a tree is never taken for one.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ....arrays import Array
from ....errors import BraindError
from . import brain, trial_noise
from .anatomy import STREAMS, Anatomy, build_anatomy
from .bold import BoldVoxels, draw_bold_voxels, simulate_run
from .brain import evoked_responses
from .experiment import RUNS_PER_SESSION, Experiment, plan_experiment, slots_of_session
from .noise_ceiling import NoiseCeiling
from .nsd_files import (
    BETA_SCALE,
    write_anatomy,
    write_behaviour,
    write_betas,
    write_experiment,
    write_ncsnr,
    write_pictures,
    write_run,
    write_run_tables,
    write_scenes,
)
from .seeds import VERSION, generator
from .trial_noise import draw_trial_noise

DEFAULT_SEED = 2017
MARKER = "simulated.json"
PERCENTILES = (5, 25, 50, 75, 95)
README = """SIMULATED DATA. NOBODY WAS SCANNED.

This folder has the names, layouts and dtypes of the Natural Scenes Dataset, and nothing else of it: its pictures are
computer-made scenes, its subjects a computer's model of visual cortex. It was written by `braind simulate`;
{marker} says with which seed and constants. Do not report anything found in it as a finding about brains.
"""

Progress = Callable[[str, int, int], None]  # current work, finished steps, total steps


class SimulationError(BraindError):
    """A simulated tree that cannot be written."""

    code = "simulation"


@dataclass(frozen=True)
class TreeSize:
    """How large a simulated tree is: volume shapes (X, Y, Z) of subjects 1, 2, … (repeated for further ones)."""

    shapes: tuple[tuple[int, int, int], ...] = ((20, 24, 16), (22, 21, 18))
    n_shared: int = 300
    n_bold_sessions: int = 2  # the last ones have a BOLD series too


@dataclass(frozen=True)
class _SimulatedSubject:
    """The subject that is written, and where."""

    root: Path
    subject: int
    experiment: Experiment
    anatomy: Anatomy
    seed: int


@dataclass(frozen=True)
class SubjectReport:
    """The files made for one subject. `ncsnr` has the percentiles 5, 25, 50, 75 and 95 of each region."""

    subject: int
    shape: tuple[int, int, int]
    n_voxels: int
    n_trials: int
    n_pictures: int
    n_bytes: int
    cpu_s: float
    ncsnr: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class SimulationReport:
    """What was made: the tree's place and size, and its subjects."""

    root: Path
    seed: int
    n_bytes: int
    cpu_s: float
    subjects: list[SubjectReport]


def simulate(
    root: Path,
    subjects: list[int] | None = None,
    n_sessions: int = 16,
    seed: int = DEFAULT_SEED,
    progress: Progress | None = None,
    size: TreeSize | None = None,
) -> SimulationReport:
    """Write a simulated tree at `root`, which must not exist or be empty.

    The same arguments give the same arrays on one kind of machine. Raises SimulationError if `root` is taken.
    """
    chosen = tuple(sorted(set(subjects if subjects is not None else [1, 2])))
    _check(root, chosen, n_sessions)
    size = size or TreeSize()
    root.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        report = _write_tree(draft, chosen, n_sessions, seed, progress or (lambda *_: None), size)
        draft.chmod(0o755)
        draft.replace(root)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return SimulationReport(root, **report)


def _check(root: Path, subjects: tuple[int, ...], n_sessions: int) -> None:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise SimulationError(
            f"{root} is there already: choose a folder that is empty, or remove this one first", code="option"
        )
    if not subjects or min(subjects) < 1 or max(subjects) > 8:
        raise SimulationError(f"subjects {list(subjects)}: NSD's subjects are numbered from 1 to 8")
    if n_sessions < 1:
        raise SimulationError(f"{n_sessions} sessions: at least 1 is needed")


def _write_tree(
    root: Path, subjects: tuple[int, ...], n_sessions: int, seed: int, progress: Progress, size: TreeSize
) -> dict[str, Any]:
    started = time.process_time()
    # pictures, then for each subject its responses and its sessions
    total = 1 + len(subjects) * (1 + n_sessions)
    progress("pictures", 0, total)
    experiment = plan_experiment(subjects, n_sessions, size.n_shared, seed)
    write_experiment(root, experiment)
    stimuli_path = write_pictures(root, experiment)
    progress("pictures", 1, total)

    reports = []
    for n, subject in enumerate(subjects):
        done = 1 + n * (1 + n_sessions)
        step = _progress_of_subject(progress, subject, done, total)
        reports.append(_write_subject(root, subject, experiment, stimuli_path, seed, step, size))
    write_scenes(root / "simulated_scenes.tsv", experiment)
    _write_marker(root, experiment, seed, reports)
    return {
        "seed": seed,
        "n_bytes": _bytes_under(root),
        "cpu_s": time.process_time() - started,
        "subjects": reports,
    }


def _progress_of_subject(progress: Progress, subject: int, done: int, total: int) -> Callable[[int], None]:
    def step(session: int) -> None:
        what = f"subject {subject}, session {session}" if session else f"subject {subject}, responses"
        progress(what, done + session + 1, total)

    return step


def _write_subject(
    root: Path,
    subject: int,
    experiment: Experiment,
    stimuli_path: Path,
    seed: int,
    step: Callable[[int], None],
    size: TreeSize,
) -> SubjectReport:
    """Write one subject: anatomy, behaviour, and session by session betas and BOLD."""
    started = time.process_time()
    anatomy = build_anatomy(size.shapes[(subject - 1) % len(size.shapes)])
    write_anatomy(root, subject, anatomy)
    write_behaviour(root, subject, experiment, seed)

    evoked = _evoked(anatomy, subject, experiment, stimuli_path, seed)
    noise = draw_trial_noise(anatomy, evoked, seed, subject)
    bold_voxels = draw_bold_voxels(anatomy, noise.independent_sd, seed, subject)
    simulated = _SimulatedSubject(root, subject, experiment, anatomy, seed)
    step(0)

    sessions = range(1, experiment.n_sessions + 1)
    order = np.concatenate([experiment.session_order(session) for session in sessions])
    ceiling = NoiseCeiling(order, len(anatomy.voxel_index))
    for session in sessions:
        session_order = experiment.session_order(session)
        responses = noise.respond(evoked[session_order], seed, subject, session)
        betas = np.rint(np.clip(responses.betas * BETA_SCALE, -32768, 32767)).astype(np.int16)
        ceiling.add(session_order, betas.astype(np.float32))
        write_betas(root, subject, session, _fill(anatomy, betas), anatomy.affine)
        if session > experiment.n_sessions - size.n_bold_sessions:
            _write_bold(simulated, session, bold_voxels, responses.amplitude)
        step(session)

    ncsnr = ceiling.ncsnr()
    write_ncsnr(root, subject, _fill(anatomy, ncsnr), anatomy.affine)
    return SubjectReport(
        subject=subject,
        shape=anatomy.shape,
        n_voxels=len(anatomy.voxel_index),
        n_trials=len(order),
        n_pictures=len(np.unique(order)),
        n_bytes=sum(_bytes_under(folder) for folder in root.glob(f"*/ppdata/subj{subject:02d}")),
        cpu_s=time.process_time() - started,
        ncsnr=_ncsnr_by_region(ncsnr, anatomy),
    )


def _evoked(anatomy: Anatomy, subject: int, experiment: Experiment, stimuli_path: Path, seed: int) -> Array:
    ids = experiment.pictures_of(subject)
    with h5py.File(stimuli_path) as stimuli:
        brick: Any = stimuli["imgBrick"]

        def pictures(chosen: slice) -> Array:
            return np.stack([brick[id_] for id_ in ids[chosen]])

        scenes = [experiment.scenes[id_] for id_ in ids]
        return evoked_responses(anatomy, scenes, pictures, seed, subject)


def _write_bold(simulated: _SimulatedSubject, session: int, voxels: BoldVoxels, amplitudes: Array) -> None:
    """Write the runs of one session, given its trials' amplitudes (750, n_voxels)."""
    root, subject, experiment = simulated.root, simulated.subject, simulated.experiment
    slots = slots_of_session(experiment.stim_pattern, session)
    ids = experiment.subject_im[subject - 1, experiment.session_order(session)]
    for run in range(RUNS_PER_SESSION):
        in_run = slots[:, 0] == run
        rng = generator(simulated.seed, f"subject {subject}, session {session}, run {run + 1}: BOLD")
        signal = simulate_run(voxels, amplitudes[in_run], slots[in_run, 1], rng)
        volumes = np.moveaxis(_fill(simulated.anatomy, signal.volumes), 0, -1)
        write_run(root, subject, session, run + 1, volumes, simulated.anatomy.affine)
        write_run_tables(root, subject, session, run + 1, signal, slots[in_run, 1], ids[in_run])


def _fill(anatomy: Anatomy, voxels: Array) -> Array:
    """Put the brain's voxels (…, n_voxels) back into volumes (…, X, Y, Z), 0 outside."""
    volumes = np.zeros((*voxels.shape[:-1], anatomy.brainmask.size), voxels.dtype)
    volumes[..., anatomy.voxel_index] = voxels
    return volumes.reshape(*voxels.shape[:-1], *anatomy.shape)


def _ncsnr_by_region(ncsnr: Array, anatomy: Anatomy) -> dict[str, list[float]]:
    streams = anatomy.streams.flat[anatomy.voxel_index]
    regions = {"visual": streams > 0, **{region: streams == value for region, value in STREAMS.items()}}
    regions["other"] = streams <= 0
    return {
        region: np.percentile(ncsnr[inside], PERCENTILES).round(3).tolist()
        for region, inside in regions.items()
        if inside.any()
    }


def _write_marker(root: Path, experiment: Experiment, seed: int, reports: list[SubjectReport]) -> None:
    calibration = {
        "snr_median": trial_noise.SNR_MEDIAN,
        "snr_log_sd": trial_noise.SNR_LOG_SD,
        "ongoing_ratio": trial_noise.ONGOING_RATIO,
        "smooth_share": trial_noise.SMOOTH_SHARE,
        "category_share": brain.CATEGORY_SHARE,
        "exemplar_share": brain.EXEMPLAR_SHARE,
        "object_spectrum": brain.OBJECT_SPECTRUM,
    }
    marker = {
        "simulated": True,
        "generator": "braind simulate",
        "version": VERSION,
        "seed": seed,
        "subjects": list(experiment.subjects),
        "n_sessions": experiment.n_sessions,
        "calibration": calibration,
        "novel_kind_ids": experiment.novel_kind_ids(),
        "ncsnr_percentiles": list(PERCENTILES),
        "reports": [{key: value for key, value in asdict(report).items() if key != "cpu_s"} for report in reports],
    }
    (root / "README.txt").write_text(README.format(marker=MARKER))
    (root / MARKER).write_text(json.dumps(marker, indent=1) + "\n")


def _bytes_under(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
