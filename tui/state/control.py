"""What an operator can change while the daemon runs, and in words what each change costs."""

from dataclasses import dataclass

from ...client.wire import Change, Setup, Status

MODES = {
    "z": "Xz alone: layout, no meaning",
    "c": "Xzc of c alone: meaning, no layout",
    "zc": "Xz, and Xzc of both",
}
POLICIES = {
    "all": "every volume is decoded, in order; pictures may fall behind the scan",
    "latest": "a volume that waits while a newer one comes gets no picture; its voxels stay in the journal",
}
NO_REFINEMENT = "none"
NOTHING_LOST = "No volume is lost: volumes are acked and journaled meanwhile, and wait."
PAUSE_UNDER = {
    "all": "Under policy all, which is in force, every volume of the pause is decoded afterwards, in order.",
    "latest": "Under policy latest, which is in force, the newest trial of the pause alone gets pictures afterwards. "
    "The others get none; their voxels stay in the journal. Choose policy all before you go on, and all are decoded.",
}
UNKNOWN = "?"


@dataclass(frozen=True)
class Item:
    """A thing that can be changed.

    Parameters
    ----------
    name : what is changed
    value : the value in force; "?" if it is not known
    choices : each other value's name, and what it means
    why_not : why it cannot be changed now; "" if it can
    """

    name: str
    value: str
    choices: dict[str, str]
    why_not: str = ""


def items_of(status: Status | None, setup: Setup | None) -> list[Item]:
    """Return what can be changed. Both are None before the first answer, `setup` also for an earlier daemon."""
    why_not = _why_not(status, setup)
    no_pictures = why_not or (status.no_pictures if status else "")
    presets = dict.fromkeys(setup.presets, "") if setup else {}
    refinements = {NO_REFINEMENT: "no refined pictures", **presets}
    return [
        Item("decoding", _decoding(status), {}),
        Item("preset", status.preset if status and not no_pictures else UNKNOWN, presets, no_pictures),
        Item("mode", setup.mode if setup and not why_not else UNKNOWN, MODES, no_pictures),
        Item("policy", status.policy if status else UNKNOWN, POLICIES, why_not),
        Item("refinement", _refinement(setup) if not no_pictures else UNKNOWN, refinements, no_pictures),
        Item("mark", "", {}),
    ]


def change_to(item: str, value: str) -> Change:
    """Return the request that gives an item a value."""
    match item:
        case "preset":
            return Change(preset=value)
        case "mode":
            return Change(mode=value)  # pyright: ignore[reportArgumentType]
        case "policy":
            return Change(policy=value)  # pyright: ignore[reportArgumentType]
        case _:
            return Change(refine="" if value == NO_REFINEMENT else value)


def cost_of(item: str, value: str, status: Status) -> str:
    """Return what a change costs; "" if it costs nothing."""
    if item == "policy":
        waiting = "?" if status.n_waiting is None else str(status.n_waiting)
        if value == "all" or status.n_waiting == 0 and not status.run:
            return ""
        return (
            f"{waiting} volumes wait now. From now on, a volume that waits while a newer one comes gets no picture; "
            "its voxels stay in the journal. No volume is lost."
        )
    after = {
        "all": " Then they are decoded, in order.",
        "latest": " Then, under policy latest, the newest trial alone gets pictures; the others get none.",
    }.get(status.policy, "")
    return (
        "The decoder finishes its volume and is loaded anew: seconds, with a large model minutes. "
        f"{NOTHING_LOST}{after} The change holds until the daemon stops."
    )


def pause_words(policy: str) -> str:
    """Return what becomes of a pause's volumes; for a policy that is not known, under each policy."""
    under = PAUSE_UNDER.get(policy)
    if under is None:
        under = "\n".join(one.replace(", which is in force,", ",") for one in PAUSE_UNDER.values())
    return f"Volumes are still acked and journaled: none is lost. No scores and no pictures are made.\n\n{under}"


def resume_cost(status: Status) -> str:
    """Return what going on costs: under policy latest, the pictures of the volumes that wait."""
    if status.policy != "latest" or status.n_waiting in (0, 1):
        return ""
    waiting = "volumes that are not counted" if status.n_waiting is None else f"{status.n_waiting} volumes"
    return (
        f"{waiting} wait. Under policy latest, which is in force, the newest trial alone gets pictures. The others get "
        "none; their voxels stay in the journal. To decode all, choose policy all first."
    )


def _why_not(status: Status | None, setup: Setup | None) -> str:
    if status is None:
        return "the daemon did not answer yet"
    if setup is None:
        return "this daemon's version cannot change it while it runs: start `braind serve` with other options"
    if status.state == "recording":
        return "the daemon records and decodes nothing: `braind use` gives it weights"
    return ""


def _decoding(status: Status | None) -> str:
    if status is None:
        return UNKNOWN
    return {"ready": "goes on", "recording": "none: volumes are recorded"}.get(status.state, status.state)


def _refinement(setup: Setup | None) -> str:
    return UNKNOWN if setup is None else setup.refine or NO_REFINEMENT
