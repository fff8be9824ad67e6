"""The simulated experiment: the picture of every trial of every subject, with NSD's design.

Every picture is planned three times. As in NSD for half of the subjects, the last planned session is never scanned, so
some pictures are seen once or twice only, and a few never.
"""

from dataclasses import dataclass

import numpy as np

from ....arrays import Array
from ..kinds import KINDS
from ..scenes import NOVEL_KINDS, Scene, draw_held_out_scene, draw_training_scene
from .seeds import generator

RUNS_PER_SESSION = 12
SLOTS_PER_RUN = 75  # of 4 seconds: 3 of picture, 1 of grey
SLOT_S = 4.0
TRIALS_PER_SESSION = 750  # 63 in odd runs, 62 in even ones
REPEATS = 3
NOVEL_SHARE = 1 / 5  # of the shared pictures: kinds that occur in no other picture


@dataclass(frozen=True)
class Experiment:
    """The design of a simulated tree. Ids count from 1, as in NSD.

    `scenes[i]` is the picture with the 73k id i + 1. `master_ordering` (n_planned_trials,) holds positions in a
    subject's row of `subject_im` (n_subjects, n_pictures), which holds 73k ids, 0 in rows of absent subjects; the
    first `n_shared` columns are `shared_ix`, the same for everybody. `stim_pattern` (n_sessions, 12, 75) is 1 where a
    slot holds a picture. `n_sessions` counts those scanned, one fewer than those planned.
    """

    scenes: list[Scene]
    subjects: tuple[int, ...]
    n_sessions: int
    master_ordering: Array
    subject_im: Array
    shared_ix: Array
    stim_pattern: Array
    coco_ids: Array
    coco_splits: list[str]

    @property
    def n_shared(self) -> int:
        """Return how many pictures all subjects share."""
        return len(self.shared_ix)

    def pictures_of(self, subject: int) -> Array:
        """Return the 0-based 73k ids of a subject's pictures, in the order of its row: (n_pictures,) int64."""
        return self.subject_im[subject - 1] - 1

    def session_order(self, session: int) -> Array:
        """Return, for a session's 750 trials, 0-based positions in a subject's row of pictures."""
        start = (session - 1) * TRIALS_PER_SESSION
        return self.master_ordering[start : start + TRIALS_PER_SESSION] - 1

    def novel_kind_ids(self) -> list[int]:
        """List the 0-based 73k ids of shared pictures with objects that training lacks."""
        return [position for position, scene in enumerate(self.scenes) if scene.kind in NOVEL_KINDS]


def plan_experiment(subjects: tuple[int, ...], n_sessions: int, n_shared: int, seed: int) -> Experiment:
    """Draw the pictures and their order."""
    rng = generator(seed, "experiment")
    n_planned_sessions = n_sessions + 1
    n_pictures = n_planned_sessions * TRIALS_PER_SESSION // REPEATS
    n_own = n_pictures - n_shared
    n_all = n_shared + n_own * len(subjects)

    ids = rng.permutation(n_all)
    shared_ids = np.sort(ids[:n_shared])
    subject_im = np.zeros((max(subjects), n_pictures), np.int64)
    for position, subject in enumerate(subjects):
        own = ids[n_shared + position * n_own : n_shared + (position + 1) * n_own]
        subject_im[subject - 1] = np.concatenate([shared_ids, own]) + 1
    return Experiment(
        scenes=_draw_scenes(n_all, shared_ids, seed),
        subjects=subjects,
        n_sessions=n_sessions,
        master_ordering=_order_trials(n_pictures, n_shared, n_sessions / n_planned_sessions, rng),
        subject_im=subject_im,
        shared_ix=shared_ids + 1,
        stim_pattern=_place_blanks(n_planned_sessions, rng),
        coco_ids=rng.choice(580_000, n_all, replace=False) + 1,
        coco_splits=[str(split) for split in rng.choice(["train2017", "val2017"], n_all, p=[0.95, 0.05])],
    )


def slots_of_session(stim_pattern: Array, session: int) -> Array:
    """Return run (from 0) and slot (from 0) of each of a session's 750 trials: (750, 2) int64."""
    return np.argwhere(stim_pattern[session - 1] == 1)


def _draw_scenes(n_all: int, shared_ids: Array, seed: int) -> list[Scene]:
    """Draw one scene per id: held-out combinations for shared ids, training combinations of known kinds for others."""
    rng = generator(seed, "scenes")
    known = tuple(kind for kind in KINDS if kind not in NOVEL_KINDS)
    n_novel = round(len(shared_ids) * NOVEL_SHARE)
    kinds_of_shared = [(NOVEL_KINDS[n % len(NOVEL_KINDS)],) if n < n_novel else known for n in range(len(shared_ids))]
    shared = dict(zip(rng.permutation(shared_ids).tolist(), kinds_of_shared, strict=True))
    return [
        draw_held_out_scene(rng, shared[position]) if position in shared else draw_training_scene(rng, known)
        for position in range(n_all)
    ]


def _order_trials(n_pictures: int, n_shared: int, scanned_share: float, rng: np.random.Generator) -> Array:
    """Order each picture's three showings: some soon after the first, some any time, as in NSD; 1-based."""
    times = rng.uniform(0, 1, (n_pictures, REPEATS))
    soon = rng.uniform(0, 1, (n_pictures, REPEATS)) < 0.4
    soon[:, 0] = False
    # 200 trials on average, and never before the first
    first = times[:, :1]
    times = np.where(soon, first + rng.exponential(200 / (n_pictures * REPEATS), times.shape), times)
    # every shared picture is seen at least once
    times[:n_shared, 0] *= 0.95 * scanned_share
    return np.argsort(times, axis=None, kind="stable") // REPEATS + 1


def _place_blanks(n_sessions: int, rng: np.random.Generator) -> Array:
    """Place blank slots: the first three and the last four of each run, the others anywhere between."""
    pattern = np.ones((n_sessions, RUNS_PER_SESSION, SLOTS_PER_RUN), np.uint8)
    pattern[:, :, :3] = 0
    pattern[:, :, -4:] = 0
    for session in range(n_sessions):
        for run in range(RUNS_PER_SESSION):
            n_trials = 63 if run % 2 == 0 else 62
            n_blanks = SLOTS_PER_RUN - 7 - n_trials
            # never two adjacent blanks: drawn in a shorter row, then spread by one slot each
            places = np.sort(rng.choice(SLOTS_PER_RUN - 9 - (n_blanks - 1), n_blanks, replace=False))
            pattern[session, run, 4 + places + np.arange(n_blanks)] = 0
    return pattern
