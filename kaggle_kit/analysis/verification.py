"""What a run's out-of-fold predictions are worth, figure by figure; every function is pure, every result frozen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kaggle_kit.analysis.evidence import NOBODY, Evidence, Rankings
from kaggle_kit.embeddings.lookalikes import NEAR_COPY
from kaggle_kit.embeddings.neighbours import ROUNDING, unit_rows

GALLERY_SIZES = (10, 20, 50, 100, 200, 500)
LENGTH_BINS = 5
MOST_NUMBERS = 10
"""Captions of an image that are told apart; later ones are put together."""
PLACES = 5
"""Retrieved images shown with a case."""
BLOCK_ROWS = 2048
MINIBATCH = 4096


@dataclass(frozen=True)
class Distance:
    """How far predictions are from their true image, beside a random other one.

    Attributes:
        name: ``euclidean``, ``manhattan`` or ``cosine`` (1 - cosine); all of unit vectors, since the score sees directions only.
        true, true_std, random, random_std: means and standard deviations over captions.
        improvement: how much smaller the mean to the true image is than the mean to the random one, per cent.
        each, each_std: the same for each caption by itself, mean and standard deviation, per cent.
        nearer: share of captions that are nearer to their true image than to the random one.
    """

    name: str
    true: float
    true_std: float
    random: float
    random_std: float
    improvement: float
    each: float
    each_std: float
    nearer: float


@dataclass(frozen=True)
class Slice:
    """The score of a part of the captions.

    Attributes:
        name: what they have in common.
        captions, images: how many.
        mrr: expected in galleries of the competition's size.
        error: its standard error, captions of one image counted as one draw.
        difference: ``mrr`` less that of all captions.
        median_rank: among all images of the fold.
        distance: of a domain's centre to the centre of all others, 1 - cosine; None for other slices.
    """

    name: str
    captions: int
    images: int
    mrr: float
    error: float
    difference: float
    median_rank: float
    distance: float | None = None


@dataclass(frozen=True)
class Hub:
    """An image that is retrieved often.

    Attributes:
        image: its name.
        times: captions that have it among their nearest.
        own: those of them that describe it.
        captions: captions that describe it, all of them.
    """

    image: str
    times: int
    own: int
    captions: int


@dataclass(frozen=True)
class Hubs:
    """How unequally images are retrieved.

    Attributes:
        neighbours: k of the k-occurrences.
        mean: k-occurrences an image, on average.
        skewness: of the k-occurrences; 0 when all are alike, above 1 a few images are in everybody's list.
        never: images that no caption has among its nearest.
        top: the most retrieved ones.

    Source: Radovanovic, Nanopoulos, Ivanovic: Hubs in Space, JMLR 2010.
    """

    neighbours: int
    mean: float
    skewness: float
    never: int
    top: tuple[Hub, ...]


@dataclass(frozen=True)
class ConfusedPair:
    """Two images of which the second was taken for the first."""

    image: str
    winner: str
    times: int
    cosine: float


@dataclass(frozen=True)
class Confusion:
    """How many errors are confusions of images that look alike.

    Attributes:
        errors: captions whose right image is not first in its fold.
        near_copies: errors whose winner is a near copy of the right image.
        lookalikes: errors whose winner has at least ``threshold`` cosine to the right image.
        share: lookalikes among the errors; 0 without errors.
        chance: share of random pairs of images with that cosine, to compare with.
        threshold: cosine.
        pairs: the pairs of look-alikes that were confused most often.
    """

    errors: int
    near_copies: int
    lookalikes: int
    share: float
    chance: float
    threshold: float
    pairs: tuple[ConfusedPair, ...]


@dataclass(frozen=True)
class Place:
    """One retrieved image."""

    rank: int
    image: str
    cosine: float
    right: bool


@dataclass(frozen=True)
class Case:
    """One caption and what was retrieved for it.

    Attributes:
        row: of the caption in the training data, counted from 0.
        caption, image: its text, and the name of its image.
        rank: of the right image among ``gallery``.
        cosine: of the prediction to the right image.
        margin: by how much that is above the nearest wrong image's; None when there is no other image.
        retrieved: the nearest images, best first; the right one last when it is not among them.
    """

    row: int
    caption: str
    image: str
    rank: int
    gallery: int
    cosine: float
    margin: float | None
    retrieved: tuple[Place, ...]


@dataclass(frozen=True)
class GallerySize:
    """The expected score with galleries of one size.

    Attributes:
        size: images in a gallery; of the last one, all images of a fold.
        mrr, error: expected mean reciprocal rank, and its standard error over images.
        chance: what a random order scores.
        whole: whether this is the gallery of all images of a fold.
    """

    size: int
    mrr: float
    error: float
    chance: float
    whole: bool


def expected_reciprocal_rank(rank: np.ndarray, gallery: np.ndarray, size: int) -> np.ndarray:
    """Mean reciprocal rank of a caption over all galleries of ``size`` images that hold its own.

    Among the N images of the whole gallery r - 1 beat the right one. How many of those fall into a smaller gallery is hypergeometric, and
    the mean of 1 / (1 + that number) has the closed form N / (g r) (1 - C(N - r, g) / C(N, g)).

    Args:
        rank: (n,) ranks r in the whole gallery.
        gallery: (n,) sizes N of the whole gallery.
        size: images g in the smaller one; more than N means N.

    Returns:
        (n,) float64.
    """
    from scipy.special import gammaln

    total = np.asarray(gallery, np.float64)
    place = np.asarray(rank, np.float64)
    drawn = np.minimum(float(size), total)
    left = np.maximum(total - place - drawn, -1.0)  # below 0: every gallery holds one that beats it, C(N - r, g) = 0
    with np.errstate(invalid="ignore"):
        log_none = gammaln(total - place + 1) - gammaln(left + 1) - gammaln(total + 1) + gammaln(total - drawn + 1)
    none = np.where(left < 0, 0.0, np.exp(np.where(left < 0, 0.0, log_none)))
    return total / (drawn * place) * (1 - none)


def mean_by_image(values: np.ndarray, image: np.ndarray) -> tuple[float, float]:
    """Mean over captions, and its standard error when captions of one image stand or fall together.

    Source: the sandwich estimator with clusters, Liang and Zeger, Biometrika 1986.
    """
    mean = float(values.mean())
    _, cluster = np.unique(image, return_inverse=True)
    residuals = np.bincount(cluster, values - mean)
    count = len(residuals)
    if count < 2:
        return mean, float("nan")
    return mean, float(np.sqrt((residuals**2).sum() * count / (count - 1)) / len(values))


def distances(evidence: Evidence, others: np.ndarray) -> tuple[Distance, ...]:
    """Euclidean, Manhattan and cosine distance to the true image beside a random other image.

    Args:
        others: (captions,) int64, the random image of each caption; captions without one are left out.
    """
    captions = np.flatnonzero(others != NOBODY)
    if not len(captions):
        return ()
    true = {name: np.empty(len(captions)) for name in ("euclidean", "manhattan", "cosine")}
    random = {name: np.empty(len(captions)) for name in true}
    for first in range(0, len(captions), BLOCK_ROWS):
        block = slice(first, first + BLOCK_ROWS)
        rows = captions[block]
        for target, images in ((true, evidence.image[rows]), (random, others[rows])):
            _fill_distances(target, block, evidence.predictions[rows], evidence.images[images])
    return tuple(_distance(name, true[name], random[name]) for name in true)


def _fill_distances(target: dict[str, np.ndarray], block: slice, one: np.ndarray, other: np.ndarray) -> None:
    difference = one - other
    target["euclidean"][block] = np.sqrt(np.einsum("nd,nd->n", difference, difference, dtype=np.float64))
    target["manhattan"][block] = np.abs(difference).sum(1, dtype=np.float64)
    target["cosine"][block] = 1 - np.einsum("nd,nd->n", one, other, dtype=np.float64)


def _distance(name: str, true: np.ndarray, random: np.ndarray) -> Distance:
    apart = random > 1e-9  # a prediction that lies on the random image leaves nothing to divide by
    each = 100 * (1 - true[apart] / random[apart]) if apart.any() else np.array([np.nan])
    return Distance(
        name=name,
        true=float(true.mean()),
        true_std=float(true.std()),
        random=float(random.mean()),
        random_std=float(random.std()),
        improvement=float(100 * (1 - true.mean() / random.mean())) if random.mean() > 0 else float("nan"),
        each=float(each.mean()),
        each_std=float(each.std()),
        nearer=float((true < random).mean()),
    )


def slices(
    evidence: Evidence, rankings: Rankings, names: np.ndarray, order: list[str], *, gallery_size: int
) -> tuple[Slice, ...]:
    """The score of each part of the captions.

    Args:
        names: (captions,) str, the part of each caption.
        order: the parts in the order of the result.
        gallery_size: of the competition.
    """
    values = expected_reciprocal_rank(rankings.rank, rankings.gallery, gallery_size)
    total = float(values.mean())
    found = []
    for name in order:
        rows = np.flatnonzero(names == name)
        mean, error = mean_by_image(values[rows], evidence.image[rows])
        images, median = len(np.unique(evidence.image[rows])), float(np.median(rankings.rank[rows]))
        found.append(Slice(name, len(rows), images, mean, error, mean - total, median))
    return tuple(found)


def by_length(evidence: Evidence, rankings: Rankings, *, gallery_size: int) -> tuple[Slice, ...]:
    """The score by words in the caption, in up to five bins between quantiles."""
    words = np.array([len(caption.split()) for caption in evidence.captions.tolist()])
    edges = np.unique(np.quantile(words, np.linspace(0, 1, LENGTH_BINS + 1)[1:], method="lower"))
    part = np.searchsorted(edges, words)
    labels = []
    for number in range(len(edges)):
        inside = words[part == number]
        low, high = int(inside.min()), int(inside.max())
        labels.append(f"{low} words" if low == high else f"{low} to {high} words")
    return slices(evidence, rankings, np.array(labels)[part], labels, gallery_size=gallery_size)


def by_number(evidence: Evidence, rankings: Rankings, *, gallery_size: int) -> tuple[Slice, ...]:
    """The score by the number of the caption: the first of its image, the second, …"""
    numbers = np.minimum(evidence.number, MOST_NUMBERS)
    present = np.unique(numbers)
    labels = {number: f"caption {number}" + (" and later" if number == MOST_NUMBERS else "") for number in present}
    names = np.array([labels[number] for number in numbers])
    return slices(evidence, rankings, names, list(labels.values()), gallery_size=gallery_size)


def by_fold(evidence: Evidence, rankings: Rankings, *, gallery_size: int) -> tuple[Slice, ...]:
    """The score of each fold."""
    fold = evidence.fold[evidence.image]
    labels = {number: f"fold {place}" for place, number in enumerate(np.unique(fold), 1)}
    names = np.array([labels[number] for number in fold])
    return slices(evidence, rankings, names, list(labels.values()), gallery_size=gallery_size)


def by_domain(
    evidence: Evidence, rankings: Rankings, *, gallery_size: int, domains: int, seed: int
) -> tuple[Slice, ...]:
    """The score of each cluster of captions, the one most distant from all others first.

    Clusters are found by k-means on unit text embeddings and named by the words that set them apart.
    """
    rows = unit_rows(evidence.text)
    label = cluster(rows, domains, seed)
    present = np.unique(label)
    words = _word_counts(evidence.captions)
    titles = {number: _title(words, label == number, number) for number in present}
    distance = {number: _apart(rows, label == number) for number in present}
    order = sorted(present, key=lambda number: -distance[number])
    names = np.array([titles[number] for number in label])
    found = slices(evidence, rankings, names, [titles[number] for number in order], gallery_size=gallery_size)
    return tuple(Slice(**{**vars(one), "distance": distance[number]}) for one, number in zip(found, order, strict=True))


def cluster(rows: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """The k-means cluster of each of (n, d) rows: (n,) int64; fewer clusters than asked for when rows repeat."""
    from sklearn.cluster import MiniBatchKMeans  # type: ignore[import-untyped]

    different = len({row.tobytes() for row in rows}) if len(rows) < 50 * clusters else clusters
    kmeans = MiniBatchKMeans(min(clusters, different), batch_size=MINIBATCH, n_init=3, random_state=seed)
    labels: np.ndarray = kmeans.fit_predict(rows)
    return labels.astype(np.int64)


def _word_counts(captions: np.ndarray) -> list[set[str]]:
    return [set(re.findall(r"[^\W\d_]{3,}", caption.lower())) for caption in captions.tolist()]


def _title(words: list[set[str]], inside: np.ndarray, number: int) -> str:
    """The three words that a cluster's captions have more often than all, by their part of the divergence between both."""
    everywhere = Counter(word for caption in words for word in caption)
    here = Counter(word for row in np.flatnonzero(inside) for word in words[row])
    count, total = int(inside.sum()), len(words)
    weight = {word: times / count * np.log(times / count * total / everywhere[word]) for word, times in here.items()}
    best = [word for word in sorted(here, key=lambda word: (-weight[word], word)) if weight[word] > 0][:3]
    return f"{number + 1}: {', '.join(best)}" if best else f"domain {number + 1}"


def _apart(rows: np.ndarray, inside: np.ndarray) -> float:
    """1 - cosine between the centre of some rows and that of all others; 0 when there are no others."""
    if inside.all():
        return 0.0
    centres = unit_rows(np.stack([rows[inside].mean(0), rows[~inside].mean(0)]))
    return float(1 - centres[0] @ centres[1])


def hubs(evidence: Evidence, rankings: Rankings, *, most: int) -> Hubs:
    """Which images are retrieved too often, by k-occurrences; k is how many nearest images the rankings remember."""
    top = rankings.top[rankings.top != NOBODY]
    times = np.bincount(top, minlength=len(evidence.names))
    captions = np.bincount(evidence.image, minlength=len(evidence.names))
    own = np.bincount(evidence.image[(rankings.top == evidence.image[:, None]).any(1)], minlength=len(evidence.names))
    spread = times.std()
    order = np.argsort(-times, kind="stable")[:most]
    return Hubs(
        neighbours=rankings.top.shape[1],
        mean=float(times.mean()),
        skewness=float((((times - times.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0,
        never=int((times == 0).sum()),
        top=tuple(Hub(str(evidence.names[row]), int(times[row]), int(own[row]), int(captions[row])) for row in order),
    )


def confusion(evidence: Evidence, rankings: Rankings, others: np.ndarray, *, threshold: float, most: int) -> Confusion:
    """How many of the errors have a winner that looks like the right image.

    Args:
        others: (captions,) int64, a random image for each caption: how often chance alone gives a look-alike.
        threshold: cosine between two images from which they count as look-alikes.
        most: pairs listed.
    """
    wrong = np.flatnonzero(rankings.rank > 1)
    right, winner = evidence.image[wrong], rankings.rival[wrong]
    cosine = _image_cosines(evidence, right, winner)
    alike = cosine >= threshold
    drawn = np.flatnonzero(others != NOBODY)
    chance = _image_cosines(evidence, evidence.image[drawn], others[drawn]) >= threshold
    times = Counter(zip(right[alike].tolist(), winner[alike].tolist(), strict=True))
    known = dict(zip(zip(right.tolist(), winner.tolist(), strict=True), cosine, strict=True))
    often = sorted(times, key=lambda pair: (-times[pair], -known[pair], pair))[:most]
    return Confusion(
        errors=len(wrong),
        near_copies=int((cosine >= NEAR_COPY - ROUNDING).sum()),
        lookalikes=int(alike.sum()),
        share=float(alike.mean()) if len(wrong) else 0.0,
        chance=float(chance.mean()) if len(drawn) else 0.0,
        threshold=threshold,
        pairs=tuple(
            ConfusedPair(str(evidence.names[one]), str(evidence.names[two]), times[one, two], float(known[one, two]))
            for one, two in often
        ),
    )


def _image_cosines(evidence: Evidence, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n,) float32 cosines between images row by row, a block at a time."""
    blocks = (slice(first, first + BLOCK_ROWS) for first in range(0, len(one), BLOCK_ROWS))
    parts = [np.einsum("nd,nd->n", evidence.images[one[part]], evidence.images[other[part]]) for part in blocks]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def best_and_worst(evidence: Evidence, rankings: Rankings, most: int) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """The captions retrieved best and worst, one of each image: by rank, then by margin."""
    best = np.lexsort((-rankings.margin, rankings.rank))
    worst = np.lexsort((rankings.margin, -rankings.rank))
    chosen = (list(_one_an_image(evidence, order, most)) for order in (best, worst))
    first, last = ([case(evidence, rankings, row) for row in rows] for rows in chosen)
    return tuple(first), tuple(last)


def _one_an_image(evidence: Evidence, order: np.ndarray, most: int) -> Iterator[int]:
    seen: set[int] = set()
    for row in order:
        if len(seen) == most:
            return
        if int(evidence.image[row]) not in seen:
            seen.add(int(evidence.image[row]))
            yield int(row)


def case(evidence: Evidence, rankings: Rankings, row: int, *, places: int = PLACES) -> Case:
    """One caption and what was retrieved for it.

    Args:
        row: among the evidence's captions.
        places: images listed, at most as many as the rankings remember.
    """
    own, rank = int(evidence.image[row]), int(rankings.rank[row])
    listed = [
        Place(place, str(evidence.names[image]), float(cosine), right=bool(image == own))
        for place, (image, cosine) in enumerate(zip(rankings.top[row], rankings.top_cosine[row], strict=True), 1)
        if image != NOBODY
    ][:places]
    if not any(place.right for place in listed):
        listed.append(Place(rank, str(evidence.names[own]), float(rankings.cosine[row]), right=True))
    margin = float(rankings.margin[row])
    return Case(
        row=int(evidence.rows[row]),
        caption=str(evidence.captions[row]),
        image=str(evidence.names[own]),
        rank=rank,
        gallery=int(rankings.gallery[row]),
        cosine=float(rankings.cosine[row]),
        margin=margin if np.isfinite(margin) else None,
        retrieved=tuple(listed),
    )


def gallery_sizes(evidence: Evidence, rankings: Rankings) -> tuple[GallerySize, ...]:
    """The expected score by gallery size, from 10 to all images of a fold."""
    smallest = int(rankings.gallery.min())
    found = [_gallery_size(evidence, rankings, size) for size in GALLERY_SIZES if size < smallest]
    whole = expected_reciprocal_rank(rankings.rank, rankings.gallery, int(rankings.gallery.max()))
    mean, error = mean_by_image(whole, evidence.image)
    size = round(float(rankings.gallery.mean()))
    return (*found, GallerySize(size, mean, error, chance_mrr(size), whole=True))


def _gallery_size(evidence: Evidence, rankings: Rankings, size: int) -> GallerySize:
    mean, error = mean_by_image(expected_reciprocal_rank(rankings.rank, rankings.gallery, size), evidence.image)
    return GallerySize(size, mean, error, chance_mrr(size), whole=False)


def chance_mrr(size: int) -> float:
    """Mean reciprocal rank of a random order of ``size`` images."""
    return float((1 / np.arange(1, size + 1)).mean())
