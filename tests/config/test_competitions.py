"""Another competition of the same kind is a TOML file."""

from __future__ import annotations

import pytest

DESCRIPTION = """
title = "Sounds"
gallery_size = 50
[files]
train = "train.npz"
images = "none"
[train_keys]
label = "captions/image_index"
[submission]
embedding_column = "vector"
"""


def test_description_in_the_project_is_found_by_slug(load, write):
    write("competitions/sound-match.toml", 'slug = "sound-match"\n' + DESCRIPTION)
    write("kk.toml", 'competition = "sound-match"')
    project = load()
    competition = project.settings.competition
    assert (competition.slug, competition.title, competition.gallery_size) == ("sound-match", "Sounds", 50)
    assert (competition.files.train, competition.files.images) == ("train.npz", None)
    assert competition.train_keys.label == "captions/image_index"
    assert competition.submission.embedding_column == "vector"
    assert project.origins["competition.gallery_size"] == "competitions/sound-match.toml"
    assert project.origins["competition.slug"] == "kk.toml"


def test_description_is_found_by_path_and_names_the_slug(load, write):
    write("mine.toml", 'slug = "sound-match"\n' + DESCRIPTION)
    write("kk.toml", 'competition = "mine.toml"')
    assert load().settings.competition.slug == "sound-match"


def test_description_without_a_slug_is_named_by_its_file(load, write):
    write("sound-match.toml", DESCRIPTION)
    assert load(overrides={"competition": "sound-match.toml"}).settings.competition.slug == "sound-match"


def test_project_file_corrects_the_description(load, write):
    write("competitions/sound-match.toml", DESCRIPTION)
    write("kk.toml", '[competition]\nslug = "sound-match"\ngallery_size = 10\n[competition.files]\ntest = "t.npz"\n')
    competition = load().settings.competition
    assert (competition.gallery_size, competition.files.test, competition.files.train) == (10, "t.npz", "train.npz")


def test_what_was_said_of_another_competition_is_left_out(load, write):
    write("kk.toml", '[competition]\nslug = "sound-match"\ngallery_size = 10\n')
    competition = load(environ={"KK_COMPETITION_SLUG": "other"}).settings.competition
    assert (competition.slug, competition.gallery_size) == ("other", 100)


@pytest.mark.parametrize(
    "reference",
    [
        "https://www.kaggle.com/competitions/aml-competition/overview",
        "https://www.kaggle.com/c/aml-competition",
        "kaggle.com/competitions/aml-competition?tab=data",
        "aml-competition",
    ],
)
def test_url_is_reduced_to_its_slug(load, reference):
    competition = load(overrides={"competition.slug": reference}).settings.competition
    assert competition.slug == "aml-competition"
    assert competition.files.train_sha256.startswith("ed9a2251")


def test_unknown_slug_has_the_default_layout(load):
    project = load(overrides={"competition": "brand-new"})
    assert project.settings.competition.files.train == "train/train/train.npz"
    assert project.settings.competition.files.train_sha256 is None


def test_problems_of_a_description_name_its_own_keys(problems_of, write):
    write("competitions/sound-match.toml", "gallery_sise = 3\n[files]\ntrain = 3\n[flies]\ntrain = 'x'\n")
    assert problems_of(overrides={"competition": "sound-match"}, environ={}) == [
        "competitions/sound-match.toml: gallery_sise: no such setting; did you mean gallery_size?",
        "competitions/sound-match.toml: files.train: must be text or none, not 3",
        "competitions/sound-match.toml: flies.train: no such setting; did you mean files.train?",
    ]


def test_description_of_another_slug_is_a_problem(problems_of, write):
    write("competitions/sound-match.toml", 'slug = "sound-mach"')
    assert problems_of(overrides={"competition": "sound-match"}, environ={}) == [
        "competitions/sound-match.toml: slug: must be sound-match, the name of the file, not 'sound-mach'"
    ]
