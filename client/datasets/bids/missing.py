"""Sentences about a run's images that are missing, or that are several, with the options that choose others."""

from .files import CHOOSABLE, NONE, BidsFile, Choice


def choices_of(files: list[BidsFile]) -> str:
    """Return how to choose among files of one run, by the entities in which their names differ; "" if none does."""
    advice: list[str] = []
    for entity in sorted({entity for file in files for entity in file.entities}):
        labels = sorted({file.entities.get(entity, NONE) for file in files})
        if len(labels) > 1 and entity in CHOOSABLE:
            advice.append(f"choose with {' or '.join(f'--{entity} {label}' for label in labels)}")
        elif len(labels) > 1:
            advice.append(f"they differ in {entity} ({', '.join(labels)}): move the others out of the folder")
    return "; ".join(advice)


def missing_images(files: list[BidsFile], task: str, wanted: str, others: list[BidsFile], chosen: Choice) -> str:
    """Return why `wanted` images of a task are missing: the tasks, spaces, descriptions and labels that the files have.

    Parameters
    ----------
    files : the subject's files
    others : the images that there are if nothing is chosen among a run's images
    chosen : what was chosen
    """
    if others:
        labels = [
            " or ".join(f"--{entity} {label}" for label in sorted({one.entities.get(entity, NONE) for one in others}))
            for entity in CHOOSABLE
            if getattr(chosen, entity)
        ]
        return f"has no {wanted}: choose with {', and '.join(labels)}"
    images = [file for file in files if file.suffix in ("bold", "statmap")]
    of_task = [file for file in images if file.has(task=task)]
    if not of_task:
        tasks = sorted({file.entities.get("task", "") for file in images})
        return f"has no images of task {task}; there are tasks {', '.join(tasks) or 'none'}: choose with --task"
    spaces = sorted({file.entities.get("space", "none in the name") for file in of_task})
    descs = sorted({desc for file in of_task if (desc := file.entities.get("desc"))})
    return (
        f"has no {wanted}; of this task there are the "
        f"spaces {', '.join(spaces) or 'none'} and the descriptions {', '.join(descs) or 'none'}: "
        "choose with --space and --betas (bold: estimated from BOLD)"
    )
