"""The weights and settings that are in force, and how clients change them while the daemon runs."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ...choices import Policy
from ...client import wire
from ...models.presets import Preset, PresetError
from ...models.weights.candidate_names import CandidateNames
from ...models.weights.candidates import Candidates
from .. import link
from ..checks import Refusal, check_same_grid
from ..in_use import WeightsInUse, load_for
from ..preflight import candidate_names, no_pictures

logger = logging.getLogger(__name__)


class SettingsInForce:
    """The weights, the decoder's settings and the policy.

    Parameters
    ----------
    in_use : WeightsInUse
        Keeps the weights of `Use` for the next start.
    presets : mapping of str to Preset
        The presets that a client can name.
    """

    def __init__(self, in_use: WeightsInUse, policy: Policy, presets: Mapping[str, Preset]) -> None:
        self.weights, self.decoder = in_use.choose()
        self.policy: Policy = policy
        started_with = self.decoder.pipeline.preset
        self.presets = {**presets, started_with.name: started_with}
        self._in_use = in_use
        self._former: link.DecoderSettings | None = None
        """Settings that a decoder loaded; None if the present settings are loaded."""

    @property
    def mode(self) -> str:
        """The mode as viewers know it: labels for weights that make no pictures, "" without weights."""
        if self.weights.is_blank:
            return ""
        return self.decoder.pipeline.mode if self.weights.has_pictures else "labels"

    def use(self, request: wire.Use) -> CandidateNames:
        """Take over other weights for this start and the next; return their candidates.

        Raises
        ------
        BraindError
            The weights, their candidates or the LDM do not fit. The weights stay as they were.
        """
        paths = {
            "weights_path": os.path.abspath(request.weights),
            "candidates_path": os.path.abspath(request.candidates),
        }
        decoder = msgspec.structs.replace(self.decoder, **paths)
        weights = load_for(self.weights.card.subject, decoder, self.weights.card.kind)
        check_same_grid(weights, self.weights)
        candidates_path = Path(decoder.candidates_path)
        if weights.has_pictures:
            Candidates.load(candidates_path)  # the new decoder must be able to read the features too
        candidates = candidate_names(weights, candidates_path)
        self._in_use.keep(weights, decoder)
        self.weights, self.decoder, self._former = weights, decoder, None
        return candidates

    def change(self, change: wire.Change) -> bool:
        """Take over a client's change; return whether a decoder must be loaded anew.

        Raises
        ------
        BraindError
            The change names no preset, or does not fit the weights. Nothing is changed.
        """
        decoder = self._changed(change)
        self.policy = change.policy or self.policy
        if decoder == self.decoder:
            return False
        self._former = self._former or self.decoder
        self.decoder = decoder
        logger.info("preset %s, mode %s, refinement %s from the next volume on", *_words(decoder))
        return True

    def note_loaded(self) -> None:
        """Note that a decoder has loaded the present settings."""
        self._former = None

    def revert(self) -> None:
        """Go back to the settings that a decoder has loaded, after a decoder died while it loaded others."""
        if self._former is not None:
            logger.error(
                "the decoder died while it loaded preset %s, mode %s, refinement %s; the former settings are back",
                *_words(self.decoder),
            )
            self.decoder, self._former = self._former, None

    def _changed(self, change: wire.Change) -> link.DecoderSettings:
        if self.weights.is_blank:
            raise Refusal(
                "the daemon records and decodes nothing: give it weights with `braind use`, then change how it decodes",
                code="settings",
            )
        of_pictures = [name for name in ("preset", "mode", "refine") if getattr(change, name) is not None]
        if of_pictures and not self.weights.has_pictures:
            raise Refusal(f"there is no {of_pictures[0]} to change: {no_pictures(self.weights)}", code="settings")
        pipeline, refine = self.decoder.pipeline, self.decoder.refine
        pipeline = msgspec.structs.replace(
            pipeline,
            preset=pipeline.preset if change.preset is None else self._preset(change.preset),
            mode=change.mode or pipeline.mode,
        )
        if change.refine is not None:
            refine = self._preset(change.refine) if change.refine else None
        return msgspec.structs.replace(self.decoder, pipeline=pipeline, refine=refine)

    def _preset(self, name: str) -> Preset:
        if name not in self.presets:
            raise PresetError(f"no preset named {name[:80]!r}; there are {', '.join(self.presets)}")
        return self.presets[name]


def _words(decoder: link.DecoderSettings) -> tuple[str, str, str]:
    refine = decoder.refine.name if decoder.refine else "none"
    return decoder.pipeline.preset.name, decoder.pipeline.mode, refine
