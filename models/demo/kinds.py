"""What people say of the demo's 64 kinds of objects: what they are, look like, have and do.

A caption's words come from here. Kinds that are alike share words, as in any language: what is furry, has wheels or
grows on a tree is said of many. Nothing here was chosen by what a decoder makes of it.
"""

from typing import NamedTuple


class KindWords(NamedTuple):
    """Words that captions say of a kind: what it is, what it looks like, what it has, what it does or is there for."""

    code_point: str  # in the Fluent Emoji 3D set
    classes: tuple[str, ...]
    looks: tuple[str, ...]
    parts: tuple[str, ...]
    habits: tuple[str, ...]


# Eight kinds a category; the sprites are in this order.
KINDS_OF_CATEGORIES: dict[str, dict[str, KindWords]] = {
    "animal": {
        "panda": KindWords(
            "1f43c", ("bear", "wild animal"), ("furry", "black and white"), ("round black ears", "dark eyes"),
            ("eating green bamboo leaves", "climbing a tree in the forest"),
        ),
        "fox": KindWords(
            "1f98a", ("wild animal", "forest animal"), ("furry", "orange"), ("pointed ears", "a long nose"),
            ("looking at the camera", "hunting in the forest"),
        ),
        "frog": KindWords(
            "1f438", ("small animal", "pond animal"), ("green", "wet"), ("big round eyes", "a wide mouth"),
            ("jumping into a pond", "sitting in the water"),
        ),
        "lion": KindWords(
            "1f981", ("big cat", "wild animal"), ("furry", "yellow"), ("a thick mane", "round ears"),
            ("hunting in the grass", "looking at the camera"),
        ),
        "pig": KindWords(
            "1f437", ("farm animal",), ("pink", "round"), ("a flat nose", "pointed ears"),
            ("eating on the farm", "looking at the camera"),
        ),
        "koala": KindWords(
            "1f428", ("bear", "wild animal"), ("furry", "gray"), ("round furry ears", "a big dark nose"),
            ("eating green leaves", "climbing a tree in the forest"),
        ),
        "zebra": KindWords(
            "1f993", ("wild animal",), ("striped", "black and white"), ("black stripes", "a short mane"),
            ("eating grass", "running in the grass"),
        ),
        "penguin": KindWords(
            "1f427", ("bird", "sea animal"), ("black and white", "fat"), ("short wings", "a yellow beak"),
            ("standing on the ice", "swimming in the cold sea"),
        ),
    },
    "creature": {
        "fish": KindWords(
            "1f420", ("sea animal",), ("striped", "colorful"), ("fins and a tail", "shiny scales"),
            ("swimming in the sea", "swimming in the water"),
        ),
        "octopus": KindWords(
            "1f419", ("sea animal",), ("soft", "red"), ("eight long arms", "big round eyes"),
            ("swimming in the sea", "hiding under the water"),
        ),
        "crab": KindWords(
            "1f980", ("sea animal",), ("red", "hard"), ("two big claws", "many legs"),
            ("walking on the beach", "hiding under the water"),
        ),
        "whale": KindWords(
            "1f433", ("sea animal",), ("blue", "fat"), ("fins and a tail", "a wide mouth"),
            ("swimming in the sea", "spraying water in the air"),
        ),
        "turtle": KindWords(
            "1f422", ("slow animal", "pond animal"), ("green", "slow"), ("a hard shell", "four short legs"),
            ("walking on the beach", "swimming in the water"),
        ),
        "ladybug": KindWords(
            "1f41e", ("insect", "bug"), ("red", "tiny"), ("black spots", "many legs"),
            ("sitting on a leaf", "flying from leaf to leaf"),
        ),
        "butterfly": KindWords(
            "1f98b", ("insect", "bug"), ("colorful", "blue"), ("two wide wings", "thin legs"),
            ("sitting on a flower", "flying from flower to flower"),
        ),
        "bee": KindWords(
            "1f41d", ("insect", "bug"), ("striped", "yellow"), ("thin wings", "black stripes"),
            ("making sweet honey", "flying from flower to flower"),
        ),
    },
    "fruit": {
        "apple": KindWords(
            "1f34e", ("fruit",), ("ripe", "red"), ("a brown stem", "shiny skin"),
            ("ready to be eaten", "picked from a tree"),
        ),
        "banana": KindWords(
            "1f34c", ("fruit",), ("ripe", "yellow"), ("thick skin", "a brown stem"),
            ("ready to be peeled", "bought at the market"),
        ),
        "strawberry": KindWords(
            "1f353", ("berry", "fruit"), ("ripe", "red"), ("green leaves", "small seeds"),
            ("served with cream", "picked in the garden"),
        ),
        "watermelon": KindWords(
            "1f349", ("melon", "fruit"), ("juicy", "red and green"), ("thick green skin", "black seeds"),
            ("cut into a slice", "served on a hot day"),
        ),
        "pineapple": KindWords(
            "1f34d", ("tropical fruit",), ("juicy", "yellow"), ("thick rough skin", "pointed green leaves"),
            ("ready to be peeled", "bought at the market"),
        ),
        "grapes": KindWords(
            "1f347", ("fruit",), ("juicy", "purple"), ("a green stem", "shiny skin"),
            ("hanging in a bunch", "picked for wine"),
        ),
        "lemon": KindWords(
            "1f34b", ("fruit",), ("sour", "yellow"), ("a green leaf", "thick skin"),
            ("picked from a tree", "ready to be cut"),
        ),
        "cherries": KindWords(
            "1f352", ("fruit",), ("ripe", "red"), ("long green stems", "shiny skin"),
            ("hanging in a pair", "picked from a tree"),
        ),
    },
    "food": {
        "hamburger": KindWords(
            "1f354", ("fast food", "sandwich"), ("hot", "tasty"), ("meat and lettuce", "melted cheese in a bun"),
            ("served for lunch", "ready to be eaten"),
        ),
        "pizza": KindWords(
            "1f355", ("fast food",), ("hot", "tasty"), ("melted cheese", "red tomato sauce"),
            ("cut into a slice", "served for dinner"),
        ),
        "donut": KindWords(
            "1f369", ("sweet snack", "dessert"), ("round", "sweet"), ("pink sugar icing", "a hole in the center"),
            ("served for breakfast", "ready to be eaten"),
        ),
        "icecream": KindWords(
            "1f366", ("cold dessert", "sweet snack"), ("cold", "sweet"), ("a crisp cone", "soft white cream"),
            ("melting in the sun", "served on a hot day"),
        ),
        "cookie": KindWords(
            "1f36a", ("sweet snack", "dessert"), ("round", "sweet"), ("brown chocolate chips", "crisp edges"),
            ("baked in the oven", "served with milk"),
        ),
        "hotdog": KindWords(
            "1f32d", ("fast food", "sandwich"), ("hot", "tasty"), ("a sausage in a bun", "yellow mustard"),
            ("served for lunch", "ready to be eaten"),
        ),
        "carrot": KindWords(
            "1f955", ("vegetable",), ("orange", "crisp"), ("green leaves", "a pointed end"),
            ("picked in the garden", "ready to be peeled"),
        ),
        "broccoli": KindWords(
            "1f966", ("vegetable",), ("green", "fresh"), ("a thick stem", "many green heads"),
            ("cooked for dinner", "bought at the market"),
        ),
    },
    "vehicle": {
        "car": KindWords(
            "1f697", ("vehicle",), ("red", "shiny"), ("four wheels", "glass windows"),
            ("parked on the street", "driving down the road"),
        ),
        "bus": KindWords(
            "1f68c", ("vehicle",), ("long", "public"), ("many windows", "wide doors"),
            ("carrying people through town", "driving down the road"),
        ),
        "bicycle": KindWords(
            "1f6b2", ("vehicle",), ("light", "fast"), ("two wheels", "pedals and a seat"),
            ("parked on the street", "ridden by people through town"),
        ),
        "rocket": KindWords(
            "1f680", ("spaceship", "vehicle"), ("fast", "metal"), ("red fins", "a pointed end"),
            ("flying to the moon", "carrying people into space"),
        ),
        "tractor": KindWords(
            "1f69c", ("farm vehicle",), ("strong", "heavy"), ("two large wheels", "a loud engine"),
            ("working on the farm", "driving through a field"),
        ),
        "helicopter": KindWords(
            "1f681", ("aircraft", "vehicle"), ("loud", "metal"), ("long spinning blades", "glass windows"),
            ("flying through the air", "carrying people through the air"),
        ),
        "sailboat": KindWords(
            "26f5", ("boat", "vehicle"), ("light", "fast"), ("white sails", "a tall mast"),
            ("sailing in the wind", "carrying people over the sea"),
        ),
        "locomotive": KindWords(
            "1f682", ("train", "vehicle"), ("old", "heavy"), ("iron wheels", "a loud engine"),
            ("pulling a train on the tracks", "steaming into the station"),
        ),
    },
    "household": {
        "chair": KindWords(
            "1fa91", ("piece of furniture",), ("wooden", "empty"), ("four legs", "a seat and a back"),
            ("used to sit at the table", "standing in the kitchen"),
        ),
        "key": KindWords(
            "1f511", ("metal tool",), ("metal", "shiny"), ("metal teeth", "a round handle"),
            ("used to open a door", "used to lock the house"),
        ),
        "lightbulb": KindWords(
            "1f4a1", ("electric lamp",), ("bright", "electric"), ("clear glass", "a metal screw"),
            ("used to light a room", "shining in the house"),
        ),
        "umbrella": KindWords(
            "2602-fe0f", ("household object",), ("open", "purple"), ("a curved handle", "a pointed end"),
            ("used in the rain", "used to stay dry"),
        ),
        "camera": KindWords(
            "1f4f7", ("electric device",), ("black", "electric"), ("a glass lens", "a round button"),
            ("used to take pictures", "lying on the table"),
        ),
        "clock": KindWords(
            "23f0", ("household device",), ("round", "loud"), ("two hands and numbers", "two metal bells"),
            ("used to tell the time", "ringing in the morning"),
        ),
        "teapot": KindWords(
            "1fad6", ("kitchen object",), ("hot", "round"), ("a lid and a handle", "a curved spout"),
            ("used to pour hot tea", "standing in the kitchen"),
        ),
        "hammer": KindWords(
            "1f528", ("metal tool",), ("heavy", "strong"), ("a wooden handle", "a metal head"),
            ("used to hit nails", "lying on the table"),
        ),
    },
    "nature": {
        "tree": KindWords(
            "1f332", ("plant",), ("tall", "green"), ("a brown trunk", "pointed green branches"),
            ("growing in the forest", "growing on a mountain"),
        ),
        "cactus": KindWords(
            "1f335", ("desert plant",), ("green", "dry"), ("sharp spines", "thick arms"),
            ("growing in the desert", "standing in the hot sun"),
        ),
        "sunflower": KindWords(
            "1f33b", ("flower", "plant"), ("yellow", "bright"), ("yellow petals", "a center full of seeds"),
            ("growing in a field", "turning to the sun"),
        ),
        "mushroom": KindWords(
            "1f344", ("forest plant",), ("red", "soft"), ("a round cap", "white spots"),
            ("growing in the forest", "growing under a tree"),
        ),
        "leaf": KindWords(
            "1f341", ("part of a plant",), ("dry", "red"), ("a thin stem", "five pointed ends"),
            ("falling from a tree", "blowing in the wind"),
        ),
        "snowman": KindWords(
            "26c4", ("winter figure",), ("white", "cold"), ("a carrot nose", "a hat and a scarf"),
            ("standing in the snow", "melting in the sun"),
        ),
        "moon": KindWords(
            "1f319", ("part of the night sky",), ("bright", "yellow"), ("a curved shape", "two pointed ends"),
            ("shining in the night sky", "shining over a mountain"),
        ),
        "tulip": KindWords(
            "1f337", ("flower", "plant"), ("pink", "fresh"), ("soft petals", "long green leaves"),
            ("growing in the garden", "growing in a field"),
        ),
    },
    "play": {
        "guitar": KindWords(
            "1f3b8", ("musical instrument",), ("electric", "wooden"), ("six strings", "a long neck"),
            ("used to play music in a band", "played on a stage"),
        ),
        "trumpet": KindWords(
            "1f3ba", ("musical instrument",), ("brass", "loud"), ("three valves", "a wide metal bell"),
            ("used to play music in a band", "blown on a stage"),
        ),
        "drum": KindWords(
            "1f941", ("musical instrument",), ("loud", "round"), ("two wooden sticks", "white skin"),
            ("used to play music in a band", "beaten with sticks"),
        ),
        "football": KindWords(
            "26bd", ("ball", "sports toy"), ("round", "black and white"), ("black and white patches", "soft leather"),
            ("kicked in a game", "rolling on the grass"),
        ),
        "balloon": KindWords(
            "1f388", ("party toy",), ("red", "light"), ("a thin string", "shiny skin"),
            ("floating in the air", "hanging at a party"),
        ),
        "gift": KindWords(
            "1f381", ("party present", "box"), ("colorful", "wrapped"), ("a bow and a ribbon", "paper and a ribbon"),
            ("waiting for a birthday party", "ready to be opened"),
        ),
        "trophy": KindWords(
            "1f3c6", ("prize", "sports cup"), ("golden", "shiny"), ("two handles", "a heavy base"),
            ("won in a game", "waiting for the winner"),
        ),
        "crown": KindWords(
            "1f451", ("royal hat",), ("golden", "shiny"), ("red jewels", "pointed ends"),
            ("worn by a king", "worn by a queen at a party"),
        ),
    },
}  # fmt: skip
KIND_WORDS = {kind: words for kinds in KINDS_OF_CATEGORIES.values() for kind, words in kinds.items()}
KINDS = tuple(KIND_WORDS)
CATEGORIES = tuple(KINDS_OF_CATEGORIES)
CATEGORY_OF = {kind: category for category, kinds in KINDS_OF_CATEGORIES.items() for kind in kinds}
