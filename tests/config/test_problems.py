"""Every problem is named: where, which setting, what to write instead, and all at once."""

from __future__ import annotations

import os

import pytest

from kaggle_kit.config import load_project
from kaggle_kit.errors import ConfigError, MissingError, UsageError


def test_all_problems_of_all_places_come_at_once(problems_of, write):
    write("kk.toml", '[train]\nlerning_rate = 1e-3\nepochs = "many"\n[trian]\nepochs = 1\n')
    write("more.toml", "[folds]\ncount = 0\n")
    assert problems_of(
        config="more.toml",
        environ={"KK_TRAIN_EPOCS": "3", "KK_FOLDS_SEED": "x"},
        overrides={"train.device": "gpu", "lr": "1"},
        origins={"train.device": "--device", "lr": "--set"},
    ) == [
        "kk.toml: [trian]: no such section; did you mean [train]?",
        "--device: must be one of auto, cuda, mps, cpu, not 'gpu'",
        "--set lr: no such setting; did you mean train.learning_rate?",
        "KK_FOLDS_SEED: must be an integer, not 'x'",
        "KK_TRAIN_EPOCS: no such setting; did you mean KK_TRAIN_EPOCHS?",
        "more.toml: folds.count: must be at least 1, not 0",
        "kk.toml: train.lerning_rate: no such setting; did you mean train.learning_rate?",
        "kk.toml: train.epochs: must be an integer, not 'many'",
    ]


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("epochs = 3", "kk.toml: epochs: no such setting; did you mean train.epochs?"),
        ("train = 3", "kk.toml: train: must be a table of settings, not 3"),
        ("[train]\nepochs = 2.5", "kk.toml: train.epochs: must be an integer, not 2.5"),
        ("[train]\nepochs = true", "kk.toml: train.epochs: must be an integer, not true"),
        ("[train]\nlearning_rate = nan", "kk.toml: train.learning_rate: must be a number, not nan"),
        ("[train]\nlearning_rate = inf", "kk.toml: train.learning_rate: must be a number, not inf"),
        ("[train]\nrestore_best = 1", "kk.toml: train.restore_best: must be true or false, not 1"),
        ("[train]\nclip_norm = []", "kk.toml: train.clip_norm: must be a number or none, not []"),
        ("[train.epochs]\nat_most = 3", "kk.toml: train.epochs: must be an integer, not a table"),
        ("[competition.files]\ntrian = 'x'", "kk.toml: competition.files.trian: no such setting; "
         "did you mean competition.files.train?"),
        ("[translator]\nname = 3", "kk.toml: translator.name: must be text, not 3"),
        ("[translator]\nname = 'redge'", "kk.toml: translator.name: no translator is called 'redge'; did you mean ridge?"),
        ("loss = 'zzz'", "kk.toml: loss.name: no loss is called 'zzz'; choose one of infonce, mse"),
        ("[translator]\nwidths = 3", "kk.toml: translator.widths: must be a list of integers, not 3"),
        ("[translator]\nwidths = ['a']", "kk.toml: translator.widths: must be a list of integers, not ['a']"),
        ("[translator]\nhidden = 1\nwidths = [1, 1]",
         "kk.toml: translator.hidden: must be at least the number of widths (2), not 1"),
        ("[translator]\nzzz = 1", "kk.toml: translator.zzz: translator subspace_mlp has no such option; "
         "it has hidden, dropout, bias, widths"),
        ("[competition]\nslug = 'two words'", "kk.toml: competition.slug: must be a competition's slug, its URL or the path "
         "of a .toml description, not 'two words'"),
        ("competition = '../../etc/passwd'", "kk.toml: competition.slug: must be a competition's slug, its URL or the path "
         "of a .toml description, not '../../etc/passwd'"),
        ("folds.seed = 4294967296", "kk.toml: folds.seed: must be from 0 to 4294967295, not 4294967296"),
        ("train.seed = -1", "kk.toml: train.seed: must be from 0 to 4294967295, not -1"),
        ("'folds.count' = 3", "kk.toml: folds.count: in quotes, a name with a point in it is no setting of a section; "
         "write it without quotes"),
        ("[competition.submission]\nid_column = ' '",
         "kk.toml: competition.submission.id_column: must not be empty, not ' '"),
        ("[competition.submission]\nembedding_column = 'id'",
         "kk.toml: competition.submission.embedding_column: must be another name than that of the ids, not 'id'"),
        (f"competition = '{'a' * 300}'", "kk.toml: competition.slug: must be a competition's slug, its URL or the path of a "
         f".toml description, not '{'a' * 300}'"),
        (f"competition = '{'a' * 300}.toml'", f"kk.toml: competition.slug: no competition description {{root}}/{'a' * 300}.toml"),
        ("competition = 'mine.toml'", "kk.toml: competition.slug: no competition description {root}/mine.toml"),
    ],
)  # fmt: skip
def test_problem_names_file_key_and_remedy(problems_of, write, clean_world, toml, problem):
    write("kk.toml", toml)
    assert problems_of(environ={}) == [problem.format(root=clean_world)]


def test_broken_toml_says_what_is_wrong(problems_of, write):
    write("kk.toml", "[train]\nepochs = = 2\n")
    assert problems_of(environ={}) == ["kk.toml: not valid TOML: Invalid value (at line 2, column 10)"]


@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        ("KK_TRIAN_EPOCHS", "KK_TRIAN_EPOCHS: no such variable; did you mean KK_TRAIN_EPOCHS?"),
        ("KK_FOLDS", "KK_FOLDS: [folds] is a section of several settings, such as KK_FOLDS_COUNT"),
        ("KK_SEED", "KK_SEED: no such variable; did you mean KK_TRAIN_SEED?"),
        ("KK_TRAIN_EPOCHS", "KK_TRAIN_EPOCHS: must be an integer, not '٣'"),
        ("KK_HOLDOUT", "KK_HOLDOUT: no such variable; did you mean KK_FOLDS_HOLDOUT?"),
    ],
)
def test_a_variable_that_can_only_mean_a_setting_but_is_wrong_is_a_problem(problems_of, variable, problem):
    assert problems_of(environ={variable: "٣"}) == [problem]


def test_options_of_a_choice_without_a_proper_name_add_no_confusion(problems_of, write):
    write("kk.toml", "[translator]\nname = nan\nhidden = 'x'\n")
    assert problems_of(environ={}) == ["kk.toml: translator.name: must be text, not nan"]


def test_variables_of_other_tools_are_left_alone(load):
    load(environ={"KK_NOTEBOOK_ROOT": "/mnt", "KK_SOMETHING": "else", "KKR": "1"})


def test_unknown_setting_given_by_set_names_the_flag(problems_of):
    assert problems_of(overrides={"tran.epochs": "3"}, origins={"tran.epochs": "--set"}, environ={}) == [
        "--set tran.epochs: no such section [tran]; did you mean train.epochs?"
    ]


def test_option_variable_of_the_translator_is_suggested_as_a_variable(problems_of):
    assert problems_of(environ={"KK_TRANSLATOR_HIDEN": "3"}) == [
        "KK_TRANSLATOR_HIDEN: translator subspace_mlp has no such option; did you mean KK_TRANSLATOR_HIDDEN?"
    ]


def test_missing_configuration_names_the_shipped_ones(clean_world):
    with pytest.raises(MissingError, match=r"no configuration file 'nowhere\.toml'") as caught:
        load_project(config="nowhere.toml", environ={})
    assert "shipped ones:" in caught.value.hint


def test_a_configuration_whose_name_no_file_can_have_is_missing(clean_world):
    with pytest.raises(MissingError, match="no configuration file 'aaa"):
        load_project(config="a" * 300, environ={})


def test_a_folder_that_is_not_there_is_a_usage_error(clean_world):
    with pytest.raises(UsageError, match=r"no such folder: .*nowhere"):
        load_project(clean_world / "nowhere", environ={})


def test_a_file_in_place_of_the_folder_is_a_usage_error(write):
    with pytest.raises(UsageError, match="is a file, not a project's folder"):
        load_project(write("file", ""), environ={})


def test_a_settings_file_that_is_no_text_is_a_problem(problems_of, clean_world):
    (clean_world / "kk.toml").write_bytes(b"\xff\xfe[train]")
    assert problems_of(environ={}) == ["kk.toml: cannot be read (not UTF-8 text)"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_settings_file_without_permission_is_a_problem(problems_of, write):
    write("kk.toml", "").chmod(0)
    assert problems_of(environ={}) == ["kk.toml: cannot be read (Permission denied)"]


def test_error_carries_each_problem_and_a_hint(write):
    write("kk.toml", "[train]\nepocs = 3\nseed = -1\n")
    with pytest.raises(ConfigError, match=r"train\.epocs") as caught:
        load_project(environ={})
    assert caught.value.to_dict() == {
        "code": 2,
        "kind": "config",
        "message": "kk.toml: train.epocs: no such setting; did you mean train.epochs?\n"
        "kk.toml: train.seed: must be from 0 to 4294967295, not -1",
        "hint": "kk config show lists every setting with its value and origin",
        "problems": caught.value.problems,
    }


def test_two_settings_that_exclude_each_other_are_a_problem(problems_of, write):
    write("kk.toml", "[train]\ncompile = true\nkernels = true\n")
    (problem,) = problems_of(environ={})
    assert problem.endswith("train.kernels: takes the place of compile, so set one of the two")
