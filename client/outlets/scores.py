"""Hand each decode's scores to other programs.

An outlet is only a subscriber: it may come and go, and it delays no decode.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from ...errors import BraindError
from ..endpoints import Endpoints
from ..subscriber import DecodeSubscriber
from ..wire import Decode, LabelProbability

SILENCE_S = 3.0
"""Three heartbeats."""


class OutletError(BraindError):
    """The outlet cannot be opened."""

    code = "outlet"


@dataclass(frozen=True)
class ScoreSample:
    """The fields of a decode that an outlet sends, in this order; None if a decode lacks the value.

    `score`, `nsd_id` and `label` belong to the best candidate. `top_class` is the most probable class, `sent_class` the
    class by the sender. `classes` has every class of the weights, sorted by name, so that a class keeps its place.
    `wire.Decode` describes the other fields.
    """

    seq: int
    session: str
    run: str
    index: int
    trial: int | None
    event: int | None
    since_onset_s: float | None
    is_final: bool
    feedback: float | None
    score: float | None
    nsd_id: int | None
    label: str | None
    top_class: str | None
    top_probability: float | None
    sent_class: str | None
    sent_probability: float | None
    classes: tuple[LabelProbability, ...]

    @classmethod
    def of(cls, decode: Decode) -> Self:
        """Return the sample of a decode of stage `scores`."""
        best = decode.retrieved[0] if decode.retrieved else None
        likely = decode.labels[0] if decode.labels else None
        return cls(
            seq=decode.seq,
            session=decode.session,
            run=decode.run,
            index=decode.index,
            trial=decode.trial,
            event=decode.event,
            since_onset_s=decode.since_onset_s,
            is_final=decode.is_final,
            feedback=decode.feedback,
            score=best.score if best else None,
            nsd_id=best.nsd_id if best else None,
            label=best.label if best else None,
            top_class=likely.label if likely else None,
            top_probability=likely.probability if likely else None,
            sent_class=decode.label,
            sent_probability=next((one.probability for one in decode.labels if one.label == decode.label), None),
            classes=tuple(sorted(decode.labels, key=lambda one: one.label)),
        )


def follow_scores(where: Endpoints, send: Callable[[ScoreSample], None], say: Callable[[str], None]) -> None:
    """Call `send` with every decode's scores, for ever; call `say` when the daemon comes and goes."""
    is_heard: bool | None = None
    with DecodeSubscriber.at(where, stages=("scores",)) as subscriber:
        while True:
            received = subscriber.receive(SILENCE_S)
            if is_heard != (received is not None):
                is_heard = received is not None
                say(f"the daemon at {where.decodes} is heard" if is_heard else f"no daemon at {where.decodes}; waiting")
            if received is not None and isinstance(received.message, Decode):
                send(ScoreSample.of(received.message))
