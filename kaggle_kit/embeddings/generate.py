"""A made-up competition in the real one's exact layout, from a demo's size to the real one's, written as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kaggle_kit.competition import Competition, CompetitionFiles, TestKeys, TrainKeys
from kaggle_kit.embeddings.pairs import DataFile, TestCaptions
from kaggle_kit.embeddings.world import MAX_CAPTION, Captions, World
from kaggle_kit.embeddings.write import npz_writer, one_hot_blocks, write_metadata, write_test_npz
from kaggle_kit.errors import UsageError
from kaggle_kit.files import write_bytes
from kaggle_kit.progress import SILENCE, Progress

FILES = CompetitionFiles()
TRAIN_KEYS = TrainKeys()
TEST_KEYS = TestKeys()
BLOCK_IMAGES = 1024
ELSEWHERE = 1 / 3
# The real captions file opens a triple quote in 134 of 1,500 lines and never closes it.
BROKEN_LINE_EVERY = 11
PICTURES, VECTORS, SAYINGS, TEXTS, NAMES, TEST = range(1, 7)


def generate_competition(
    folder: Path,
    *,
    captions: int = 6000,
    images: int = 1200,
    text_dim: int = 128,
    image_dim: int = 192,
    test: int = 600,
    seed: int = 0,
    files: CompetitionFiles = FILES,
    train_keys: TrainKeys = TRAIN_KEYS,
    test_keys: TestKeys = TEST_KEYS,
    progress: Progress = SILENCE,
) -> np.ndarray:
    """Write the files of a made-up competition below ``folder``: the training npz, the test npz and the test
    captions.

    The same arguments give the same bytes. Memory stays in the tens of megabytes, whatever the size.

    Args:
        folder: where the competition's file names start.
        captions: training captions; each image gets as many as the others, give or take one.
        images: training images.
        text_dim: width of text embeddings.
        image_dim: width of image embeddings.
        test: test captions, of as many other images; the last third comes from elsewhere (see
            :mod:`~kaggle_kit.embeddings.world`).
        seed: another seed, another world.
        files: names of the files.
        train_keys: names of the arrays of the training file.
        test_keys: names of the arrays of the test file.
        progress: is told of the bytes written.

    Returns:
        The answers: embeddings of the test captions' images, (test, image_dim) float32, in id order.

    Raises:
        UsageError: sizes that make no sense, or a folder that cannot be written to.
        DiskFullError: no space left.
    """
    if not 0 < images <= captions or min(text_dim, image_dim, test) < 1:
        raise UsageError(
            f"{captions} captions of {images} images ({text_dim} to {image_dim} dimensions), {test} test captions",
            "every number must be at least 1, and every image needs a caption",
        )
    train_file, test_file = Competition(files=files).embedding_files
    world = World(text_dim, image_dim, seed)
    train = _Train(world, captions, images, seed)
    _write_train(folder / train_file, train, train_keys, (text_dim, image_dim), progress)
    captions_to_solve, answers = _test_part(world, test, seed, folder / test_file)
    write_test_npz(folder / test_file, captions_to_solve, test_keys)
    if files.test_captions is not None:
        write_bytes(folder / files.test_captions, _captions_lines(captions_to_solve))
    return answers


@dataclass(frozen=True)
class _Train:
    """The training part as a function of its seed: any block can be made again, none is kept."""

    world: World
    captions: int
    images: int
    seed: int

    def rng(self, what: int, block: int) -> np.random.Generator:
        """The generator of one aspect of one block."""
        return np.random.default_rng([self.seed, what, block])

    @property
    def counts(self) -> np.ndarray:
        """Captions of each image, (images,) int64."""
        share, rest = divmod(self.captions, self.images)
        return np.full(self.images, share) + (np.arange(self.images) < rest)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Number and pictures (some, 8) of each block."""
        for block, first in enumerate(range(0, self.images, BLOCK_IMAGES)):
            count = min(BLOCK_IMAGES, self.images - first)
            yield block, self.world.draw_pictures(self.rng(PICTURES, block), count)

    def image_blocks(self) -> Iterator[np.ndarray]:
        """Image embeddings, block by block."""
        for block, pictures in self.blocks():
            yield self.world.image_vectors(pictures, self.rng(VECTORS, block))

    def captioned(self) -> Iterator[tuple[int, np.ndarray, Captions]]:
        """For each block its number, and for each of its captions the picture and what is said."""
        for block, pictures in self.blocks():
            first = block * BLOCK_IMAGES
            each = np.repeat(pictures, self.counts[first : first + len(pictures)], axis=0)
            yield block, each, self.world.draw_captions(self.rng(SAYINGS, block), len(each))

    def text_blocks(self) -> Iterator[np.ndarray]:
        """Text embeddings, block by block."""
        for block, pictures, said in self.captioned():
            yield self.world.text_vectors(pictures, said, self.rng(TEXTS, block))

    def sentence_blocks(self) -> Iterator[np.ndarray]:
        """The captions in words, block by block."""
        for _, pictures, said in self.captioned():
            yield np.array(self.world.sentences(pictures, said), dtype=f"<U{MAX_CAPTION}")

    def names(self) -> np.ndarray:
        """File names in no order, (images,) str."""
        numbers = self.rng(NAMES, 0).permutation(np.arange(1, self.images + 1) * 7919 + 1000000)
        return np.array([f"{number}.jpg" for number in numbers])


def _write_train(path: Path, train: _Train, keys: TrainKeys, widths: tuple[int, int], progress: Progress) -> None:
    text, image = (train.captions, widths[0]), (train.images, widths[1])
    label = (train.captions, train.images)
    task = progress.start(
        f"writing {path.name}", 4.0 * (text[0] * text[1] + image[0] * image[1]) + label[0] * label[1], "B"
    )
    done = 0

    def watched(blocks: Iterator[np.ndarray], itemsize: int = 4) -> Iterator[np.ndarray]:
        nonlocal done
        for block in blocks:
            yield block
            done += block.size * itemsize
            task.update(done)

    with npz_writer(path) as writer:
        write_metadata(
            writer, num_captions=text[0], num_images=image[0], embedding_dim_text=text[1], embedding_dim_image=image[1]
        )
        if keys.caption_ids is not None:
            writer.add(keys.caption_ids, np.arange(1, train.captions + 1))
        if keys.caption_texts is not None:
            writer.add_blocks(keys.caption_texts, text[:1], np.dtype(f"<U{MAX_CAPTION}"), train.sentence_blocks())
        writer.add_blocks(keys.caption_embeddings, text, np.dtype(np.float32), watched(train.text_blocks()))
        index = np.repeat(np.arange(train.images), train.counts)
        writer.add_blocks(keys.label, label, np.dtype(bool), watched(one_hot_blocks(index, train.images), 1))
        if keys.image_names is not None:
            writer.add(keys.image_names, train.names())
        writer.add_blocks(keys.image_embeddings, image, np.dtype(np.float32), watched(train.image_blocks()))
    task.finish()


def _test_part(world: World, count: int, seed: int, path: Path) -> tuple[TestCaptions, np.ndarray]:
    """The test captions, the last third from elsewhere, and their answers."""
    rng = np.random.default_rng([seed, TEST])
    away = round(count * ELSEWHERE)
    texts, vectors, answers = [], [], []
    for size, elsewhere in ((count - away, False), (away, True)):
        pictures = world.draw_pictures(rng, size, elsewhere=elsewhere)
        said = world.draw_captions(rng, size, elsewhere=elsewhere)
        texts += world.sentences(pictures, said, elsewhere=elsewhere)
        vectors.append(world.text_vectors(pictures, said, rng, elsewhere=elsewhere))
        answers.append(world.image_vectors(pictures, rng))
    test = TestCaptions(np.arange(1, count + 1), np.concatenate(vectors), np.array(texts), DataFile(path, 0, ""))
    return test, np.concatenate(answers)


def _captions_lines(test: TestCaptions) -> bytes:
    """``id,caption`` lines, as broken as the real ones."""
    lines = [
        f'{number},"""{caption}' if row % BROKEN_LINE_EVERY == 0 else f"{number},{caption}"
        for row, (number, caption) in enumerate(zip(test.ids.tolist(), test.captions.tolist(), strict=True))
    ]
    return ("id,caption\n" + "\n".join(lines) + "\n").encode()
