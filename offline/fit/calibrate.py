"""Fits a new participant's weights on recorded sessions, and scores the weights during the calibration."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ...arrays import Array
from ...client.datasets.data_set import DataSet
from ...client.datasets.images import is_nifti_name
from ...client.wire import SILENT_S, Calibration
from ...config import Config, candidates_beside, data_path
from ...daemon.journal.recording import Recording
from ...errors import BraindError
from ..from_settings import fit_settings_of, load_ldm
from .recorded_runs import RECORDED
from .recorded_sessions import Describe, RecordedSessions
from .subject import fit_data_set
from .targets import encode_targets

if TYPE_CHECKING:
    from ...client.control import ControlClient
    from ...client.subscriber import DecodeSubscriber
    from ...models.ldm.model import LatentDiffusionModel


@dataclass(frozen=True)
class ShownPictures:
    """Folder of the trials' pictures, and their captions: a table, or the folder of a captioning model."""

    stimuli: Path
    captions: Path | None = None
    captioner: Path | None = None


@dataclass
class SessionFit:
    """Fits on recorded sessions repeatedly. The model, the captioner and encoded pictures are kept between fits."""

    config: Config
    shown: ShownPictures
    _encoded: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    _ldm: "LatentDiffusionModel | None" = None
    _describe: tuple[str, Describe] | None = None

    def fit(self, paths: Sequence[Path]) -> tuple[Path, Calibration]:
        """Fit on the sessions; write weights, candidates and a model card; return the weights' path and the score.

        A weights file is named by its content. So a fit never overwrites a file that a daemon uses.

        Raises
        ------
        BraindError
            If the sessions cannot be read together, pictures or captions are missing, masks have another grid, or
            there are too few trials.
        """
        from ...models.scores.left_out import two_way_left_out

        data = RecordedSessions(paths, self.shown.stimuli, self.shown.captions, self._captioner())
        try:
            self._ldm = self._ldm or load_ldm(self.config, is_exact=True)
            settings = fit_settings_of(self.config, self._ldm.device.type)
            fitted = fit_data_set(self.config, data, data.subject, data.kind, self._ldm, settings, self._encode)
        finally:
            data.close()
        trials = fitted.trials
        score = two_way_left_out(fitted.weights, trials, self.config.fit.folds)
        card = msgspec.structs.replace(
            fitted.weights.card, scores=fitted.weights.card.scores | {"two_way": round(score.mean, 6)}
        )
        fitted = replace(fitted, weights=replace(fitted.weights, card=card, fingerprint=""))
        name = f"sub-{data.subject:02d}_{fitted.weights.fingerprint}.safetensors"
        path = data_path(self.config) / "weights" / name
        fitted.save(path, candidates_beside(path))
        return path, Calibration(
            session=paths[-1].stem,
            n_trials=len(trials),
            n_pictures=len(np.unique(trials.picture_of_trial)),
            minutes=round(data.minutes, 2),
            two_way=round(score.mean, 4),
            low=round(score.low, 4),
            high=round(score.high, 4),
        )

    def _captioner(self) -> tuple[str, Describe] | None:
        if self._describe is None and self.shown.captioner is not None:
            from ...models.captioner import Captioner

            captioner = Captioner(self.shown.captioner)
            self._describe = captioner.name, captioner.describe
        return self._describe

    def _encode(
        self, data: DataSet, ldm: "LatentDiffusionModel", nsd_ids: Array, z_px: int, work: Path | None
    ) -> tuple[Array, Array]:
        """Encode pictures as `encode_targets` does, but each picture only once."""
        assert isinstance(data, RecordedSessions)
        names = {int(number): f"{data.picture_names[number]}\n{data.captions(number)}" for number in nsd_ids}
        new = np.array([number for number, name in names.items() if name not in self._encoded], np.int64)
        if len(new):
            z, c = encode_targets(data, ldm, new, z_px)
            self._encoded |= {names[number]: (z[row], c[row]) for row, number in enumerate(new.tolist())}
        encoded = [self._encoded[name] for name in names.values()]
        return np.stack([z for z, _ in encoded]), np.stack([c for _, c in encoded])


def with_regions(config: Config, z_rois: Sequence[str], c_rois: Sequence[str]) -> Config:
    """Return the settings with the given regions.

    Without given regions, the settings' mask files are used; without mask files, all recorded voxels. Labels in the
    settings are ignored: they name regions of an atlas, and a recorded session has no atlas.
    """
    chosen = {
        name: list(given) or [roi for roi in getattr(config.fit, name) if is_nifti_name(roi)] or [RECORDED]
        for name, given in (("z_rois", z_rois), ("c_rois", c_rois))
    }
    return msgspec.structs.replace(config, fit=msgspec.structs.replace(config.fit, **chosen))


def follow_calibration(
    fit: SessionFit,
    earlier: Sequence[Path],
    control: "ControlClient",
    subscriber: "DecodeSubscriber",
    say: Callable[[str], None],
    is_stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Fit after each run that ends in the daemon's session, and send the score to the viewers.

    A run without a volume for `SILENT_S` seconds counts as ended, as it does for `braind use`.

    Parameters
    ----------
    earlier : sequence of Path
        Earlier sessions of the same participant.
    say : callable
        Shows the operator a line: the weights' path and score, or the reason why a fit failed.
    """
    fitted: tuple[str, set[tuple[str, int]]] = "", set()
    while not is_stopped():
        journal = control.status().journal
        ended = _ended_runs(Path(journal)) if journal else set()
        if ended and (journal, ended) != fitted:
            fitted = journal, ended
            try:
                path, calibration = fit.fit([*earlier, Path(journal)])
            except BraindError as error:
                say(str(error))
            else:
                control.tell(calibration)
                say(f"{path}\t{words_of(calibration)}")
        subscriber.receive(timeout_s=1.0)


def words_of(calibration: Calibration) -> str:
    """Return a calibration's score as a sentence."""
    return (
        f"{calibration.n_trials} trials of {calibration.n_pictures} pictures in {calibration.minutes:.1f} minutes: "
        f"two-way {calibration.two_way:.2f} ({calibration.low:.2f}–{calibration.high:.2f}, chance 0.50)"
    )


def _ended_runs(path: Path) -> set[tuple[str, int]]:
    """Return the name and the length of each run that has ended or counts as ended.

    A run that goes on after a silence ends again, with another length.
    """
    ended: set[tuple[str, int]] = set()
    with Recording(path) as recording:
        for run in recording.runs():
            if run.n_volumes is not None:
                ended.add((run.name, run.n_volumes))
                continue
            n_volumes, newest_unix_s = recording.count_and_newest(run)
            if newest_unix_s is not None and time.time() - newest_unix_s > SILENT_S:
                ended.add((run.name, n_volumes))
    return ended
