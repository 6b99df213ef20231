"""``kk`` without a command, and what the shell proposes; both from the disk alone, without anything heavy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from played import faulty, template, tiny  # noqa: F401

from kaggle_kit.archive import RunStore, SubmissionStore
from kaggle_kit.archive.records import hold_lock
from kaggle_kit.cli import cli


def proposals(*words: str) -> list[str]:
    """What bash would be given for the last of ``words``."""
    return [
        item.value for item in BashComplete(cli, {}, "kk", "_KK_COMPLETE").get_completions(list(words[:-1]), words[-1])
    ]


def test_an_empty_folder_is_told_how_to_begin(clean_world, kk):
    stand = kk("--json").json
    assert stand["next_command"] == "kk init SLUG"
    assert "kk demo" in kk().out
    assert "kk --help lists all commands" in kk().out


def test_a_project_without_data_is_told_to_fetch(clean_world, write, kk):
    write("kk.toml", 'competition = "aml-competition"\n')
    assert "train/train/train.npz not here yet" in kk().out
    assert kk("--json").json["next_command"] == "kk fetch"


def test_it_says_where_a_competition_stands_and_what_is_left_today(tiny, faulty, kk):  # noqa: F811
    stand = kk("--json").json
    assert stand["missing"] == []
    assert stand["next_command"] == f'kk submit {stand["last_run"]["id"]} -m "…"'
    assert stand["left_today"] is None
    sent = kk("submit", "-m", "first", "-q", "--json").json
    stand = kk("--json").json
    assert (stand["sent_today"], stand["left_today"]) == (1, 4)
    assert stand["last_submission"]["public_score"] == sent["public_score"] == stand["best_public"]
    assert stand["next_command"] == "kk train"
    shown = kk().out
    assert f"public score {sent['public_score']:.5f}" in shown
    assert "4 submissions left, 1 submission made" in shown


def test_what_counts_today_is_what_went_to_kaggle_today(tiny, faulty, kk):  # noqa: F811
    """Not what was made today: a draft of yesterday, and one whose answer was lost."""
    kk("submit", "-m", "first", "-q")
    submissions = SubmissionStore(tiny / "submissions_archive")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    draft = {"competition": submissions.list()[0]["competition"], "state": "valid"}
    for state, created in (("sending", yesterday), ("valid", yesterday)):
        made = submissions.create(submissions.reserve("late", "a" * 64), draft | {"created": created})
        if state != "valid":
            submissions.advance(made, state)
    stand = kk("--json").json
    assert (stand["sent_today"], stand["left_today"]) == (2, 3)
    days = kk("leaderboard", "--by-day", "--json").json
    assert [(day["day"], day["count"]) for day in days] == [
        (f"{datetime.now(UTC):%Y-%m-%d}", 2),
        (yesterday[:10], 1),  # the draft
    ]


def test_a_stopped_run_and_an_awaited_score_come_first(tiny, faulty, kk):  # noqa: F811
    runs, submissions = RunStore(tiny / "models_archive"), SubmissionStore(tiny / "submissions_archive")
    run = runs.list()[0]
    runs.update(run.id, state="interrupted")
    assert kk("--json").json["next_command"] == f"kk train --resume {run.id}"
    with hold_lock(run.folder / "training.lock", 0.0, run.id):
        assert kk("--json").json["next_command"] == f"kk runs show {run.id}", "it is being trained"
    runs.update(run.id, state="interrupted", sweep={"name": "lr", "trial": 0})
    assert "--resume" not in kk("--json").json["next_command"], "kk sweep goes on with its trials"
    runs.update(run.id, state="done", sweep=None)
    sent = kk("submit", "-m", "first", "-q", "--json").json
    submissions.update(sent["id"], state="sent")
    assert kk("--json").json["next_command"] == "kk sync"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("tr",), "train"),
        (("train", "--translator", "whitened"), "whitened_ridge"),
        (("train", "--loss", "info"), "infonce"),
        (("train", "--config", "resid"), "residual"),
        (("train", "--preset", "f"), "fast"),
        (("fetch", "--competition", "aml"), "aml-competition"),
        (("completion", "z"), "zsh"),
        (("runs", "s"), "show"),
        (("submissions", "re"), "rebuild"),
        (("remote", ""), "train"),
        (("config", ""), "show"),
    ],
)
def test_the_shell_proposes_commands_and_names(clean_world, words, expected):
    assert expected in proposals(*words)


@pytest.mark.parametrize("words", [("submit",), ("predict",), ("runs", "show"), ("train", "--resume"), ("ensemble",)])
def test_the_shell_proposes_runs(tiny, words):  # noqa: F811
    run = RunStore(tiny / "models_archive").list()[0].id
    assert proposals(*words, run[:6]) == [run]


def test_the_shell_proposes_submissions_and_files_where_no_run_fits(tiny, faulty, kk):  # noqa: F811
    sent = kk("submit", "-m", "first", "-q", "--json").json["id"]
    assert proposals("submissions", "show", "20") == [sent]
    completed = BashComplete(cli, {}, "kk", "_KK_COMPLETE").get_completions(["submit"], "my.c")
    assert [item.type for item in completed] == ["file"]


def test_translators_of_the_projects_own_are_proposed_without_being_run(clean_world, write):
    write("kk.toml", 'plugins = ["mine.py"]\n')
    write("mine.py", 'raise SystemExit("run")\n\n@kk.translator("my_own")\nclass A: ...\n')
    assert proposals("train", "--translator", "my") == ["my_own"]


def test_a_broken_project_has_no_proposals_and_no_error(clean_world, write):
    write("kk.toml", "[[[\n")
    assert proposals("runs", "show", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_what_the_shell_understands(clean_world, kk, tmp_path, shell):
    text = kk("completion", shell).out
    assert f"_KK_COMPLETE={shell}_complete" in text
    if shutil.which(shell):
        (tmp_path / "kk").write_text(text)
        assert subprocess.run([shell, "-n", str(tmp_path / "kk")], check=False).returncode == 0


@pytest.mark.parametrize("words", [[], ["completion", "bash"]])
def test_neither_loads_anything_heavy(tiny, words):  # noqa: F811
    code = (
        "import json, sys\nfrom kaggle_kit.cli import cli\n"
        f"cli.main({words!r}, standalone_mode=False)\n"
        "print(json.dumps([m for m in ('torch', 'pandas', 'kaggle', 'numpy') if m in sys.modules]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stderr.splitlines()[-1]) == []


def test_bash_completes_through_the_installed_script(tiny):  # noqa: F811
    run = RunStore(tiny / "models_archive").list()[0].id
    environment = {"COMP_WORDS": "kk submit 2", "COMP_CWORD": "2", "_KK_COMPLETE": "bash_complete"}
    code = "import os; os.environ.update(" + repr(environment) + "); from kaggle_kit.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.splitlines() == [f"plain,{run}"]
    assert Path(tiny / "models_archive" / run).is_dir()


@pytest.mark.parametrize("family", ["runs", "submissions", "remote"])
def test_a_family_without_a_command_lists(tiny, kk, family):  # noqa: F811
    assert kk(family).out == kk(family, "list").out != ""
    assert kk(family, "--json", "-q").json == kk(family, "list", "--json", "-q").json
    assert kk(family, "--help").out.startswith(f"Usage: kk {family}")
    assert f"did you mean kk {family} list?" in kk(family, "lst").err
