"""Captions of the demo's scenes, written as COCO's annotators write them.

Five people describe a picture in 8 to 14 words. Each names the object, and says some of what it is, looks like, has and
does. Layout is seldom said. The rates are those of the 25,015 captions of COCO's val2017, counted before anything was
trained or scored: 9.5 % of captions hold a word for size, 0.3 % the side on which something stands ("left", "right",
"middle", "center" without "of"), and 1.2 % a colour before a word for the background (sky, wall, grass, water, ...).
"""

from collections.abc import Iterator
from hashlib import sha256

import numpy as np

from .kinds import KIND_WORDS, KINDS
from .scenes import COLOURS, PLACES, SIZES, Scene

CAPTIONS_PER_PICTURE = 5
FEWEST_WORDS, MOST_WORDS = 8, 14
SIZE_RATE, PLACE_RATE, COLOUR_RATE = 0.095, 0.003, 0.012

SIZE_WORDS = {"small": ("small", "little"), "big": ("large", "big")}
PLACE_WORDS = {"left": "on the left", "middle": "in the middle", "right": "on the right"}
ABOVE_WORDS = ("under a {} sky", "before a {} wall")
BELOW_WORDS = ("on {} ground", "on a {} floor")
FORMS = (
    "{the object} with {part} {habit}",
    "{object} is {class} with {part}",
    "a photo of {class} , {object} {habit}",
    "there is {the object} {habit}",
    "a close up of {the object} with {part} and {other part}",
    "{the object} , {class} , {habit}",
    "{class} called {object} with {part} and {other part}",
    "a picture of {the object} {habit}",
)
PLURALS = ("grapes", "cherries")
# Words of captions that the demo never writes: a user's captions are not spelled letter by letter.
COCO_CATEGORIES = (
    "person bicycle car motorcycle airplane bus train truck boat traffic light fire hydrant stop sign parking meter "
    "bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee "
    "skis snowboard sports ball kite baseball bat glove skateboard surfboard tennis racket bottle wine glass cup fork "
    "knife spoon bowl banana apple sandwich orange broccoli carrot hot dog pizza donut cake chair couch potted plant "
    "bed dining table toilet tv laptop mouse remote keyboard cell phone microwave oven toaster sink refrigerator book "
    "clock vase scissors teddy bear hair drier toothbrush"
)
OTHER_WORDS = (
    "a an the this that these some any each its his her their and or but not of in on at by to from with without near "
    "above over under below behind before between around next off up down out into through along top front back side "
    "left right middle center corner background is are was has have there it he she they who which very several many "
    "one two three four five six seven eight nine ten man woman boy girl child baby people group men women kid young "
    "old tall short long big large huge small little tiny beautiful old new clean dirty empty full bright dark cold "
    "hot wooden metal plastic black white gray grey red orange yellow green teal turquoise blue purple pink brown gold "
    "silver sitting standing lying walking running riding holding eating drinking playing looking watching wearing "
    "flying swimming jumping sleeping talking smiling driving parked cooking cutting reading throwing catching hitting "
    "carrying pulling pushing opening waiting hanging growing falling room kitchen bathroom bedroom street road city "
    "building house window door wall floor roof bridge field grass tree trees flower flowers mountain hill beach ocean "
    "sea lake river water snow sand sky cloud clouds sun rain night day desk plate food fruit vegetable animal toy "
    "photo picture image view close couple pair piece made used filled covered"
)


def captions(scene: Scene) -> list[str]:
    """Describe a scene as five people would: always the same five captions for one scene."""
    said = f"{scene.kind} {scene.extent:.6f} {scene.x:.6f} {scene.y:.6f} {scene.horizon:.6f}"
    rng = np.random.default_rng(int.from_bytes(sha256(said.encode()).digest()[:8]))
    forms = rng.permutation(len(FORMS))[:CAPTIONS_PER_PICTURE]
    return [_caption(scene, FORMS[form], rng) for form in forms]


def caption_words() -> list[str]:
    """List every word that a caption can hold, and further words of COCO's captions."""
    words = {*KINDS, *COLOURS, *PLACES, *SIZES, *COCO_CATEGORIES.split(), *OTHER_WORDS.split()}
    for phrase in _phrases():
        words.update(phrase.split())
    return sorted(word for word in words if "{" not in word and "}" not in word)


def _phrases() -> Iterator[str]:
    yield from FORMS
    yield from (*ABOVE_WORDS, *BELOW_WORDS, *PLACE_WORDS.values(), *SIZE_WORDS["small"], *SIZE_WORDS["big"], "are")
    for words in KIND_WORDS.values():
        yield from (*words.classes, *words.looks, *words.parts, *words.habits)


def _caption(scene: Scene, form: str, rng: np.random.Generator) -> str:
    """Fill a form in, again until its length is that of a caption."""
    size = str(rng.choice(SIZE_WORDS[scene.size])) if rng.uniform() < SIZE_RATE else ""
    layout = _layout(scene, rng)
    # every kind has words for a form that leaves room for size and layout
    while True:
        caption = " ".join(f"{_filled(scene.kind, size, form, rng)} {layout}".split())
        if FEWEST_WORDS <= len(caption.split()) <= MOST_WORDS:
            return caption
        form = str(rng.choice(FORMS))


def _layout(scene: Scene, rng: np.random.Generator) -> str:
    """Say where the object stands or what is behind it, seldom, and never both: a caption has room for one."""
    drawn = rng.uniform()
    if drawn < PLACE_RATE:
        return PLACE_WORDS[scene.place]
    if drawn < PLACE_RATE + COLOUR_RATE:
        wording, colour = (ABOVE_WORDS, scene.above) if rng.uniform() < 0.5 else (BELOW_WORDS, scene.below)
        return str(rng.choice(wording)).format(colour)
    return ""


def _filled(kind: str, size: str, form: str, rng: np.random.Generator) -> str:
    words = KIND_WORDS[kind]
    look = str(rng.choice(words.looks)) if rng.uniform() < 0.5 else ""
    part, other_part = (str(words.parts[n]) for n in rng.permutation(2))
    is_plural = kind in PLURALS
    if is_plural:
        form = form.replace(" is {class}", " are {class}")
    return (
        form.replace("{the object}", _with_article(f"{size} {look} {kind}", is_plural))
        .replace("{object}", _with_article(f"{size} {kind}", is_plural))
        .replace("{class}", _with_article(str(rng.choice(words.classes))))
        .replace("{part}", part)
        .replace("{other part}", other_part)
        .replace("{habit}", str(rng.choice(words.habits)))
    )


def _with_article(words: str, is_plural: bool = False) -> str:
    words = words.strip()
    article = "some" if is_plural else "an" if words[0] in "aeiou" else "a"
    return f"{article} {words}"
