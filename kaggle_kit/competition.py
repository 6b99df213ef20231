"""What a competition is, as data: its files, npz keys, submission columns and gallery size.

Another competition of the same kind is another TOML file of these fields (see ``kaggle_kit/competitions``), not other code.
Dimensions and counts are never stated here: they are read from the data.
"""

from __future__ import annotations

from dataclasses import dataclass

from kaggle_kit.errors import ConfigError
from kaggle_kit.settings import FILLED, Section, at_least, setting


@dataclass(frozen=True)
class CompetitionFiles(Section):
    """The files as the competition names them, folders included."""

    train: str | None = setting(
        "train/train/train.npz",
        "npz with captions, images and which belongs to which; none in a competition without embeddings",
    )
    test: str | None = setting(
        "test/test/test.clean.npz", "npz with the test captions; none in a competition without embeddings"
    )
    sample: str | None = setting(
        None, "sample submission: without a test npz, submissions are held against its columns and ids"
    )
    more: list[str] = setting([], "further files that kk fetch gets")
    test_captions: str | None = setting("test/test/captions.txt", "the test captions as text; none when there are none")
    images: str | None = setting("train/train/Images", "folder of the training photos; none when there is none")
    train_sha256: str | None = setting(None, "known SHA-256 of the training file; another one is only worth a warning")
    test_sha256: str | None = setting(None, "known SHA-256 of the test file")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.train is None) != (self.test is None):
            raise ConfigError(["train and test must both be named, or both be none (no embeddings)"])
        if self.test is None and self.sample is None:
            raise ConfigError(["sample: must be named where train and test are none: it says what is submitted"])

    @property
    def required(self) -> list[str]:
        """What training and submitting need, by the competition's names."""
        return [name for name in (self.test, self.train, self.sample, *self.more) if name is not None]


@dataclass(frozen=True)
class TrainKeys(Section):
    """Names of the arrays in the training file."""

    caption_ids: str | None = setting(
        "captions/ids", "ids of the captions, (captions,) int64; none: they are counted from 1"
    )
    caption_texts: str | None = setting("captions/text", "the captions, (captions,) str; none when there are none")
    caption_embeddings: str = setting("captions/embeddings", "text embeddings, (captions, d_text) float32")
    label: str = setting(
        "captions/label",
        "which image a caption belongs to: (captions, images) bool one-hot, or (captions,) integer index",
    )
    image_names: str | None = setting("images/names", "names of the images, (images,) str; none: their numbers")
    image_embeddings: str = setting("images/embeddings", "image embeddings, (images, d_image) float32")


@dataclass(frozen=True)
class TestKeys(Section):
    """Names of the arrays in the test file."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    caption_ids: str = setting("captions/ids", "ids to predict, (captions,) int64")
    caption_texts: str | None = setting("captions/text", "the captions, (captions,) str; none when there are none")
    caption_embeddings: str = setting("captions/embeddings", "text embeddings, (captions, d_text) float32")


@dataclass(frozen=True)
class SubmissionFormat(Section):
    """The columns of the submission file."""

    id_column: str = setting("id", "name of the id column", FILLED)
    embedding_column: str = setting("embedding", "name of the column that holds the quoted list of numbers", FILLED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embedding_column == self.id_column:
            raise ConfigError([f"embedding_column: must be another name than that of the ids, not {self.id_column!r}"])


@dataclass(frozen=True)
class Competition(Section):
    """One competition: on text-to-image embedding translation, or any other whose submissions follow a sample file."""

    slug: str = setting("aml-competition", "the competition's name in its URL")
    title: str = setting("", "the competition's title, for people")
    gallery_size: int = setting(100, "rows of one retrieval gallery", at_least(2))
    rehearsal: bool = setting(False, "a rehearsal: its records stay out of the real competition's history and checks")
    files: CompetitionFiles = setting(CompetitionFiles(), "the competition's files")
    train_keys: TrainKeys = setting(TrainKeys(), "arrays of the training file")
    test_keys: TestKeys = setting(TestKeys(), "arrays of the test file")
    submission: SubmissionFormat = setting(SubmissionFormat(), "columns of the submission file")

    @property
    def embedding_files(self) -> tuple[str, str]:
        """The training and the test npz.

        Raises:
            ConfigError: there are none.
        """
        if self.files.train is None or self.files.test is None:
            raise ConfigError([f"{self.slug} has no embeddings (competition.files.train and files.test are none)"])
        return self.files.train, self.files.test

    @property
    def plain(self) -> bool:
        """Whether there are no embeddings to train on: files made elsewhere are held against the sample submission."""
        return self.files.test is None
