"""A small invented world of pictures and captions, for demos, rehearsals and tests.

A picture has eight traits (who, colour, clothing, …). Its embedding adds a vector for each trait, one for some pairs
of traits, and a lot of variation that no caption mentions, most of it in a few directions. A caption names some of
the traits, each by one of three synonyms; its embedding is a curved function of the words. So a linear map finds some
of the way, regression is led astray by the loud directions, and a network trained by contrast finds much more: as in
the real competition. A third of the test comes from elsewhere: other things are common there, other synonyms, fewer
traits are named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# One trait a paragraph; values are separated by commas, the synonyms of a value by bars.
VOCABULARY = """\
colour: red|crimson|scarlet, blue|azure|navy, black|dark|ebony, white|pale|snowy, yellow|golden|amber,
    brown|tan|chestnut, green|olive|emerald, grey|silver|ashen
who: dog|puppy|hound, man|guy|gentleman, woman|lady|female, boy|lad|youngster, girl|lass|schoolgirl,
    cat|kitten|tabby, horse|pony|stallion, child|toddler|kid, player|athlete|sportsman, bird|gull|pigeon
clothing: in a hat|wearing a cap|with a beanie, in a jacket|wearing a coat|with a parka, in shorts|wearing
    trunks|with bermudas, in a shirt|wearing a tee|with a top, in boots|wearing shoes|with sneakers, in a
    scarf|wearing a shawl|with a bandana, in gloves|wearing mittens|with mitts, in goggles|wearing glasses|with
    shades, in a helmet|wearing a hard hat|with headgear, in a collar|wearing a leash|with a harness
action: runs|sprints|races, jumps|leaps|hops, sits|rests|squats, stands|waits|poses, swims|paddles|splashes,
    climbs|scrambles|clambers, sleeps|dozes|naps, plays|frolics|romps, walks|strolls|wanders,
    falls|tumbles|slips, slides|glides|skids, turns|spins|twirls
thing: with a ball|after a football|near a sphere, with a stick|after a branch|near a twig, with a bike|after a
    bicycle|near a cycle, with a kite|after a balloon|near a glider, with a board|after a skateboard|near a
    plank, with a book|after a magazine|near a paper, with a rope|after a cord|near a string, with a
    frisbee|after a disc|near a plate, with a camera|after a lens|near a tripod, with a guitar|after a
    banjo|near a fiddle
place: on the grass|across a lawn|in a meadow, on the beach|across sand|by the sea, in the snow|over ice|on a
    slope, in a street|along a road|on a pavement, in the water|through a pool|in a lake, on a rock|up a
    cliff|on a boulder, in a forest|among trees|in the woods, in a park|by a playground|in a garden, on a
    stage|in a hall|before a crowd, in a kitchen|at a table|by a stove, on a field|around a track|in a stadium,
    by a fence|along a wall|at a gate
light: at sunset|at dusk|in evening light, in sunshine|in bright light|at noon, at night|in the dark|by
    lamplight, in the rain|in drizzle|in wet weather, in fog|in mist|in haze, under clouds|on a grey day|in
    shade
company: alone|by itself|without company, beside a friend|with another|next to a companion, in a group|among
    others|in a team, before onlookers|with spectators|while people watch, with family|with parents|with
    relatives, near strangers|among passers-by|by some people
"""


def _traits() -> dict[str, list[list[str]]]:
    """For each trait its values, for each value its synonyms."""
    lines = VOCABULARY.replace("\n    ", " ").splitlines()
    named = (line.partition(": ") for line in lines)
    return {name: [value.split("|") for value in values.split(", ")] for name, _, values in named}


TRAITS = _traits()
WORDS = list(TRAITS.values())
PAIRED = (("who", "action"), ("action", "thing"), ("thing", "place"), ("colour", "clothing"), ("who", "place"))
SYNONYMS = 3
HIDDEN = 96
LOUD_DIRECTIONS = 8
PAIR_STRENGTH = 0.6
LOUDNESS = 1.2
IMAGE_NOISE = 0.6
TEXT_NOISE = 0.2
STYLE = 0.7  # how differently captions are worded elsewhere
MEAN_IMAGE_NORM = 26.0
UNSPOKEN = (0.2, 0.3)  # share of traits that a caption leaves out: at home, elsewhere
SYNONYM_SHARES = ((0.5, 0.4, 0.1), (0.2, 0.3, 0.5))
MAX_CAPTION = 160


@dataclass(frozen=True)
class Captions:
    """What some captions say: which traits (n, 8) bool, and by which synonym (n, 8) int64."""

    spoken: np.ndarray
    synonym: np.ndarray


class World:
    """The fixed laws of one invented world; pictures and captions are drawn by generators of the caller's.

    Args:
        text_dim: width of text embeddings.
        image_dim: width of image embeddings.
        seed: another seed, another world.
    """

    def __init__(self, text_dim: int, image_dim: int, seed: int) -> None:
        rng = np.random.default_rng([seed, 0])
        self._sizes = [len(values) for values in TRAITS.values()]
        self._of_trait = [_normal(rng, size, image_dim) for size in self._sizes]
        self._pairs = [tuple(list(TRAITS).index(trait) for trait in pair) for pair in PAIRED]
        self._of_pair = [
            _normal(rng, self._sizes[a], self._sizes[b], image_dim) * PAIR_STRENGTH for a, b in self._pairs
        ]
        self._loud = _normal(rng, LOUD_DIRECTIONS, image_dim) * LOUDNESS
        self._image_mean = _normal(rng, image_dim) * 2
        self._words = [_normal(rng, size, SYNONYMS, HIDDEN) / np.sqrt(len(TRAITS)) for size in self._sizes]
        self._mix = _normal(rng, HIDDEN, HIDDEN) * 1.2 / np.sqrt(HIDDEN)
        self._out = _normal(rng, HIDDEN, text_dim) / np.sqrt(HIDDEN)
        self._text_mean = _normal(rng, text_dim) / 2
        self._style = _normal(rng, HIDDEN) * STYLE
        self._scale = np.float32(1)
        sample = self.image_vectors(self.draw_pictures(rng, 256), rng)
        self._scale = np.float32(MEAN_IMAGE_NORM / np.linalg.norm(sample, axis=1).mean())

    def draw_pictures(self, rng: np.random.Generator, count: int, *, elsewhere: bool = False) -> np.ndarray:
        """The traits of some pictures, (count, 8) int64; what is rare at home is common elsewhere."""
        columns = []
        for size in self._sizes:
            shares = 1 / np.sqrt(np.arange(1, size + 1))
            shares = shares[::-1] if elsewhere else shares
            columns.append(rng.choice(size, count, p=shares / shares.sum()))
        return np.stack(columns, axis=1)

    def image_vectors(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Embeddings of pictures (n, 8), (n, image_dim) float32, with norms around 26."""
        vectors = np.tile(self._image_mean, (len(pictures), 1))
        for trait, table in enumerate(self._of_trait):
            vectors += table[pictures[:, trait]]
        for (one, other), table in zip(self._pairs, self._of_pair, strict=True):
            vectors += table[pictures[:, one], pictures[:, other]]
        vectors += _normal(rng, len(pictures), LOUD_DIRECTIONS) @ self._loud
        vectors += IMAGE_NOISE * _normal(rng, *vectors.shape)
        return vectors * self._scale

    def draw_captions(self, rng: np.random.Generator, count: int, *, elsewhere: bool = False) -> Captions:
        """What some captions say."""
        spoken = rng.random((count, len(TRAITS))) >= UNSPOKEN[elsewhere]
        spoken[:, list(TRAITS).index("who")] = True
        synonym = rng.choice(SYNONYMS, (count, len(TRAITS)), p=SYNONYM_SHARES[elsewhere])
        return Captions(spoken, synonym)

    def text_vectors(
        self, pictures: np.ndarray, captions: Captions, rng: np.random.Generator, *, elsewhere: bool = False
    ) -> np.ndarray:
        """Embeddings of the captions of pictures (n, 8), (n, text_dim) float32."""
        words = np.tile(self._style * np.float32(elsewhere), (len(pictures), 1))
        for trait, table in enumerate(self._words):
            words += table[pictures[:, trait], captions.synonym[:, trait]] * captions.spoken[:, trait, None]
        vectors = np.tanh(words @ self._mix) @ self._out + self._text_mean
        return vectors + TEXT_NOISE * _normal(rng, *vectors.shape)

    def sentences(self, pictures: np.ndarray, captions: Captions, *, elsewhere: bool = False) -> list[str]:
        """The captions in words."""
        opening = "There is a" if elsewhere else "A"
        return [
            f"{opening} {_said(picture, spoken, synonym)} ."
            for picture, spoken, synonym in zip(
                pictures.tolist(), captions.spoken.tolist(), captions.synonym.tolist(), strict=True
            )
        ]


def _said(picture: list[int], spoken: list[bool], synonym: list[int]) -> str:
    return " ".join(WORDS[trait][picture[trait]][synonym[trait]] for trait in range(len(WORDS)) if spoken[trait])


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)
