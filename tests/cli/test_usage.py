"""Options, arguments and settings given wrongly, and the commands that need no data."""

from __future__ import annotations

import pytest

from kaggle_kit.version import VERSION


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["trian"], "kk has no command 'trian'", "did you mean kk train?"),
        (["runs", "lst"], "kk runs has no command 'lst'", "did you mean kk runs list?"),
        (["config", "zzz"], "kk config has no command 'zzz'", "commands: show"),
        (["train", "--epohs", "3"], "No such option '--epohs'", "kk train --help shows how it is used"),
        (["train", "--set", "epochs"], "'epochs' is not KEY=VALUE, such as train.epochs=20", "kk train --help"),
        (["train", "--folds"], "Option '--folds' requires an argument.", "kk train --help"),
        (["submit", "--wait-for", "soon"], "'soon' is no duration such as 90s, 10m or 1h30m", "kk submit --help"),
        (["leaderboard", "--sort", "worst"], "'worst' is not one of", "kk leaderboard --help"),
        (["leaderboard", "--csv", "--json"], "--csv and --json exclude each other", "leave one of them out"),
        (["ensemble"], "an ensemble needs at least two runs", "kk runs list"),
        (["translators", "rigde"], "no translator and no loss is called 'rigde'", "did you mean ridge?"),
        (["ensemble", "a", "b", "--weights", "half"], "'half' is neither equal, optimised nor numbers", "kk ensemble"),
        (["validate"], "Missing argument 'FILE'.", "kk validate --help"),
        (["train", "extra"], "unexpected extra argument", "kk train --help"),
        (["train", "--resume", "--folds", "3"], "--folds cannot be combined with --resume: a run goes on with its own", ""),
        (["train", "--resume", "--config", "residual"], "--config cannot be combined with --resume", ""),
        (["config", "show", "trian"], "no section is called 'trian'; did you mean train?", "sections: paths, competition"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(kk, arguments, message, hint):
    outcome = kk(*arguments)
    assert outcome.code == 2
    assert f"Error: {message}" in outcome.err or message in outcome.err
    assert f"Hint: {hint}" in outcome.err or not hint
    assert "Traceback" not in outcome.err
    if "--json" not in arguments:
        assert outcome.out == ""


@pytest.mark.parametrize("arguments", [["trian"], ["train", "--epohs"], ["config", "show", "trian"]])
def test_wrong_usage_with_json_is_one_object_on_stdout(kk, arguments):
    outcome = kk(*arguments, "--json")
    assert outcome.code == 2
    assert outcome.json["ok"] is False
    assert outcome.json["error"]["code"] == 2
    assert outcome.json["error"]["kind"] == "usage"
    assert outcome.json["error"]["message"] in outcome.err


@pytest.mark.parametrize(
    "arguments", [["train"], ["predict"], ["leaderboard"], ["config", "show"], ["runs", "list"], ["submit"], ["validate", "x.csv"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_settings_stop_every_command_and_are_all_named(kk, write, arguments):
    write("kk.toml", "[train]\nepocs = 3\n[folds]\ncount = 0\n")
    outcome = kk(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err == (
        "Error: kk.toml: train.epocs: no such setting; did you mean train.epochs?\n"
        "       kk.toml: folds.count: must be at least 1, not 0\n"
        "Hint: kk config show lists every setting with its value and origin\n"
    )


def test_wrong_settings_with_json_are_listed(kk, write):
    write("kk.toml", "[train]\nepocs = 3\nseed = 'x'\n")
    assert kk("leaderboard", "--json").json["error"]["problems"] == [
        "kk.toml: train.epocs: no such setting; did you mean train.epochs?",
        "kk.toml: train.seed: must be an integer, not 'x'",
    ]


def test_flag_with_a_wrong_value_is_named_like_a_setting(kk):
    outcome = kk("train", "--folds", "many", "--translator", "mpl")
    assert outcome.code == 2
    assert "--folds: must be an integer, not 'many'" in outcome.err
    assert "--translator: no translator is called 'mpl'; did you mean mlp?" in outcome.err


def test_missing_configuration_is_8(kk):
    outcome = kk("config", "show", "--config", "residul")
    assert outcome.code == 8
    assert "no configuration file 'residul'" in outcome.err
    assert "did you mean residual?" in outcome.err


@pytest.mark.parametrize("arguments", [["--version"], ["train", "--version"]])
def test_version_is_printed(kk, arguments):
    assert kk(*arguments).out == f"kk {VERSION}\n"
    assert kk(*arguments, "--json").json == {"kaggle_kit": VERSION}


def test_family_without_a_command_shows_its_help(kk):
    outcome = kk("config")
    assert (outcome.code, outcome.err) == (0, "")
    assert "Commands:" in outcome.out


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["train", "-h"], ["runs", "list", "--help"]])
def test_help_goes_to_stdout(kk, arguments):
    outcome = kk(*arguments)
    assert outcome.code == 0
    assert outcome.out.startswith("Usage: kk")
    assert outcome.err == ""


def test_settings_show_value_and_origin(kk, write, monkeypatch):
    write("kk.toml", "[folds]\nseed = 3\n")
    monkeypatch.setenv("KK_FOLDS_COUNT", "4")
    outcome = kk("config", "show", "folds", "--origin", "--meaning", "--set", "folds.holdout=0.2")
    assert outcome.code == 0
    rows = {line.split()[0]: line for line in outcome.out.splitlines() if line.startswith("folds.")}
    assert "4" in rows["folds.count"]
    assert "KK_FOLDS_COUNT" in rows["folds.count"]
    assert "kk.toml" in rows["folds.seed"]
    assert "--set" in rows["folds.holdout"]
    assert "share of the images held out" in rows["folds.holdout"]


def test_settings_as_json_are_rows(kk):
    rows = kk("config", "show", "translator", "--translator", "ridge", "--json")
    assert rows.code == 2  # not an option of this command
    rows = kk("config", "show", "translator", "--set", "translator=ridge", "--json").json
    assert rows[0] == {
        "key": "translator.name",
        "value": "ridge",
        "origin": "--set",
        "meaning": "name of the translator",
    }


def test_recipe_is_an_origin(kk):
    outcome = kk("config", "show", "train", "--origin", "--set", "translator=mlp")
    assert next(line for line in outcome.out.splitlines() if line.startswith("train.epochs")).split() == [
        "train.epochs", "20", "recipe", "mlp",
    ]  # fmt: skip


def test_translators_and_losses_are_listed_and_one_is_shown_with_its_options(kk):
    outcome = kk("translators")
    assert outcome.code == 0
    for name in ("mlp", "residual_mlp", "ridge", "procrustes", "infonce", "cosine", "mse"):
        assert f"\n{name} " in outcome.out
    assert "translator.hidden" not in outcome.out
    assert "translator.hidden = 4096" in kk("translators", "mlp").out
    entries = {(entry["kind"], entry["name"]): entry for entry in kk("translators", "--json").json}
    assert entries["translator", "mlp"]["recipe"] == "baseline"
    assert {"name": "hidden", "default": 4096, "meaning": "width of the hidden layer"} in entries["translator", "mlp"][
        "options"
    ]


@pytest.mark.parametrize(
    ("arguments", "empty"),
    [
        (["leaderboard"], "no submissions yet"),
        (["runs", "list"], "no runs yet; kk train makes one"),
        (["submissions", "list"], "no submissions yet; kk submit makes one"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_empty_archive_is_no_error(kk, arguments, empty):
    outcome = kk(*arguments)
    assert (outcome.code, outcome.err) == (0, "")
    assert empty in outcome.out
    assert kk(*arguments, "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs", "show"], "there is no run yet"),
        (["runs", "show", "nothing"], "no run 'nothing'"),
        (["submissions", "show"], "there is no submission yet"),
        (["predict"], "there is no run yet"),
        (["train", "--resume"], "no unfinished run"),
        (["train", "--translator", "ridge"], "train.npz"),
        (["validate", "nowhere.csv"], "test.clean.npz"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_8_and_says_how_to_get_it(kk, arguments, message):
    outcome = kk(*arguments)
    assert outcome.code == 8, outcome.err
    assert outcome.out == ""
    assert message in outcome.err
    assert "Hint: " in outcome.err


def test_commands_that_ask_the_service_name_another_server_once(kk, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_ENDPOINT", "http://user:secret@127.0.0.1:9")
    outcome = kk("sync", "--quiet")
    assert outcome.err.count("Using the server at http://127.0.0.1:9 (KAGGLE_API_ENDPOINT)") == 1
    assert "secret" not in outcome.err + outcome.out
    assert "127.0.0.1" not in kk("runs", "list").err


def test_preset_and_config_exclude_each_other(kk):
    result = kk("train", "--preset", "fast", "--config", "residual")
    assert result.code == 2
    assert "--preset and --config exclude each other" in result.err
