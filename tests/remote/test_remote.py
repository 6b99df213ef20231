"""What happens around a training in a notebook: push, follow, pull, file, go on; the training itself is stood in for."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from faults import SECRET, FaultyServer, answer, lose_answer, rpc_error

from kaggle_kit.archive import RunStore

pytestmark = pytest.mark.usefixtures("standin")

RUN = "20261123-150000-{}-1a2b3c"


def pushes(server: FaultyServer) -> int:
    """How often a version was asked for."""
    return sum(seen.route.endswith("SaveKernel") for seen in server.requests)


def run_record(mood: str) -> dict:
    return json.loads(Path("models_archive", RUN.format(mood), "run.json").read_text())


def test_run_is_pushed_followed_pulled_and_filed_with_where_it_came_from(kk, serve, project):
    server = serve()
    outcome = kk("--json", "remote", "train", "--name", "done", "--gpu", "t4x2")
    assert outcome.code == 0, outcome.err
    job, run = outcome.json["job"], outcome.json["run"]
    assert (job["state"], job["run"], job["pushes"][0]["gpu"]) == ("done", RUN.format("done"), "NvidiaTeslaT4")
    assert run["state"] == "done"
    assert run["provenance"]["remote"]["kernel"] == job["kernel"]
    assert run["provenance"]["remote"]["version"] == 1
    assert run["provenance"]["git"] == job["git"]
    assert "GPU hours this week: 30.0 of 30 left" in outcome.err
    assert "training, done" in outcome.err
    assert "every hash compared" in outcome.err
    weights = project / "models_archive" / RUN.format("done") / "fold-0-seed-0" / "model.safetensors"
    assert weights.read_bytes() == b"weights of done"
    kept = project / "models_archive" / "remote" / job["name"] / "v1"
    assert (kept / "submission.csv").is_file()
    assert "training, done" in (kept / "log.txt").read_text()
    pushed = server.kernels.host.version(job["kernel"]).pushed
    assert (pushed["isPrivate"], pushed["competitionDataSources"], pushed["sessionTimeoutSeconds"]) == (
        True,
        ["tiny"],
        43200,
    )
    assert SECRET not in pushed["text"]
    assert [record.id for record in RunStore(project / "models_archive").list()] == [RUN.format("done")]


def test_run_that_its_time_limit_stopped_goes_on_from_its_own_output(kk, serve, project):
    server = serve()
    stopped = kk("remote", "train", "--name", "stops", "--gpu", "cpu")
    assert stopped.code == 75
    assert "was stopped by the time limit in version 1" in stopped.err
    assert run_record("stops")["state"] == "interrupted"
    going_on = kk("--json", "remote", "train", "--resume", "--gpu", "cpu")
    assert going_on.code == 0, going_on.err
    job = going_on.json["job"]
    assert [push["version"] for push in job["pushes"]] == [1, 2]
    assert run_record("stops")["state"] == "done"
    assert run_record("stops")["provenance"]["remote"]["versions"] == [1, 2]
    assert server.kernels.host.version(job["kernel"], 2).pushed["kernelDataSources"] == [job["kernel"]]
    again = kk("remote", "train", "--resume", RUN.format("stops"))
    assert again.code == 2
    assert "cannot go on: done" in again.err


@pytest.mark.slow
def test_run_can_go_on_after_a_push_that_was_refused(kk, serve):
    server = serve()
    assert kk("remote", "train", "--name", "stops", "--gpu", "cpu").code == 75
    server.fault("SaveKernel", answer(200, b'{"error": "Maximum batch CPU session count of 5 reached."}'))
    refused = kk("remote", "train", "--resume", "--gpu", "cpu")
    assert refused.code == 6
    assert "Maximum batch CPU session count of 5 reached" in refused.err
    assert kk("remote", "train", "--resume", "--gpu", "cpu").code == 0


@pytest.mark.slow
def test_until_done_takes_as_many_sessions_as_it_needs(kk, serve):
    server = serve()
    outcome = kk("--json", "remote", "train", "--name", "stops", "--gpu", "cpu", "--until-done")
    assert (outcome.code, pushes(server)) == (0, 2), outcome.err
    assert outcome.json["run"]["state"] == "done"


def test_training_that_fails_there_fails_here_with_its_last_words(kk, serve):
    serve()
    outcome = kk("remote", "train", "--name", "fails", "--gpu", "cpu")
    assert outcome.code == 7
    assert "failed in version 1: loss is not finite at step 3" in outcome.err
    assert "log.txt" in outcome.err
    assert run_record("fails")["state"] == "failed"


@pytest.mark.slow
def test_session_that_is_killed_leaves_a_run_that_can_go_on(kk, serve):
    serve()
    outcome = kk("remote", "train", "--name", "dies", "--gpu", "cpu")
    assert outcome.code == 75
    assert "left no kk-remote.json" in outcome.err
    assert run_record("dies")["state"] == "interrupted"


@pytest.mark.parametrize(
    ("mood", "problem"),
    [
        ("lies", "came with sha256"),
        pytest.param("lacks", "are not in the service's list, models_archive/", marks=pytest.mark.slow),
    ],
)
def test_output_that_is_not_what_the_notebook_wrote_is_not_filed(kk, serve, mood, problem):
    serve()
    outcome = kk("remote", "train", "--name", mood, "--gpu", "cpu")
    assert outcome.code == 6
    assert problem in outcome.err
    assert not Path("models_archive", RUN.format(mood)).exists()


@pytest.mark.slow
def test_started_only_it_can_be_looked_at_and_pulled_later(kk, serve):
    serve()
    started = kk("--json", "remote", "train", "--name", "done", "--gpu", "cpu", "--no-wait")
    name = started.json["job"]["name"]
    assert not Path("models_archive", RUN.format("done")).exists()
    log = kk("remote", "logs", "-f")
    assert (log.code, log.out.splitlines()[0]) == (0, "training, done")
    assert [row["text"] for row in kk("--json", "remote", "logs").json] == ["training, done"]
    assert kk("--json", "remote", "status", name).json["state"] == "complete"
    assert kk("remote", "pull", name).code == 0
    again = kk("remote", "pull", name)
    assert (again.code, "is here already" in again.err) == (0, True)
    assert [job["state"] for job in kk("--json", "remote", "list").json] == ["done"]
    assert [row["version"] for row in kk("--json", "remote", "list", "--all").json] == [1]
    assert "20261123-150000" in kk("remote", "list").out


@pytest.mark.slow
def test_notebook_that_was_pushed_elsewhere_can_be_pulled(kk, serve):
    serve()
    kernel = kk("--json", "remote", "train", "--name", "done", "--gpu", "cpu").json["job"]["kernel"]
    shutil.rmtree("models_archive")
    pulled = kk("--json", "remote", "pull", kernel)
    assert pulled.code == 0, pulled.err
    assert pulled.json["run"]["provenance"]["remote"]["kernel"] == kernel
    assert kk("remote", "pull", "rehearsal/kk-none").code == 8


@pytest.mark.slow
def test_run_that_was_finished_here_meanwhile_is_not_overwritten(kk, serve):
    serve()
    kk("remote", "train", "--name", "stops", "--gpu", "cpu")
    store = RunStore(Path("models_archive"))
    store.update(RUN.format("stops"), state="done")
    [job] = Path("models_archive/remote").glob("*.json")
    job.write_text(job.read_text().replace('"pulled": true', '"pulled": false'))
    outcome = kk("remote", "pull")
    assert outcome.code == 3
    assert "is in the archive already (done) and is not overwritten" in outcome.err
    store.update(RUN.format("stops"), state="interrupted")
    assert kk("remote", "pull").code == 75


@pytest.mark.slow
def test_pull_that_breaks_off_goes_on_where_it_was(kk, serve):
    server = serve()
    name = kk("--json", "remote", "train", "--name", "done", "--gpu", "cpu", "--no-wait").json["job"]["name"]
    kk("remote", "logs", "-f")
    server.fault("model.safetensors", answer(503), times=99)
    assert kk("remote", "pull", name).code == 6
    assert not Path("models_archive", RUN.format("done")).exists()
    server.faults.clear()
    assert kk("remote", "pull", name).code == 0


def test_push_whose_answer_is_lost_is_found_by_its_mark_and_not_made_twice(kk, serve):
    server = serve()
    server.fault("SaveKernel", lose_answer)
    outcome = kk("--json", "remote", "train", "--name", "done", "--gpu", "cpu")
    assert (outcome.code, pushes(server), outcome.json["job"]["pushes"][0]["version"]) == (0, 1, 1), outcome.err


@pytest.mark.slow
def test_push_that_never_arrived_is_known_as_such(kk, serve):
    server = serve()
    server.fault("SaveKernel", answer(503), times=9)
    outcome = kk("remote", "train", "--name", "done", "--gpu", "cpu")
    assert outcome.code == 6
    assert "whether it does is not known" in outcome.err
    assert kk("--json", "remote", "status").json["state"] == "refused"
    assert kk("remote", "pull").code == 6


def test_error_inside_an_answer_that_says_all_is_well_ends_the_command(kk, serve):
    serve()
    outcome = kk("remote", "train", "--name", "done", "--gpu", "cpu", "--set", "remote.datasets=ann/none")
    assert outcome.code == 6
    assert "could not attach: dataset ann/none" in outcome.err
    assert kk("--json", "remote", "list").json[0]["state"] == "refused"


def test_rules_that_were_not_accepted_are_told_before_anything_is_pushed(kk, serve):
    server = serve(entered=False)
    outcome = kk("remote", "train", "--name", "done")
    assert (outcome.code, pushes(server)) == (4, 0)
    assert "accept the rules" in outcome.err


def test_without_hours_nothing_is_pushed(kk, serve):
    server = serve({"gpu_hours": 0.1})
    outcome = kk("remote", "train", "--name", "done")
    assert (outcome.code, pushes(server)) == (5, 0)
    assert "6m of GPU time are left this week" in outcome.err


@pytest.mark.slow
def test_session_is_no_longer_than_the_hours_that_are_left(kk, serve):
    server = serve({"gpu_hours": 0.5})
    job = kk("--json", "remote", "train", "--name", "done").json["job"]
    assert server.kernels.host.version(job["kernel"]).pushed["sessionTimeoutSeconds"] == 1800
    assert job["pushes"][0]["session_s"] == 1800


@pytest.mark.slow
def test_server_that_tells_no_quota_is_trusted(kk, serve):
    server = serve()
    server.fault("GetAcceleratorQuotaStatistics", rpc_error(404, "Not found"))
    outcome = kk("remote", "train", "--name", "done")
    assert (outcome.code, "GPU hours" in outcome.err) == (0, False)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("t4", "two at a time"),
        ("P100", "offers no P100 any more"),
        ("t4x3", "did you mean t4x2"),
        ("abacus", "choose one of"),
    ],
)
def test_accelerator_that_there_is_not_is_refused_at_once(kk, serve, name, told):
    server = serve()
    outcome = kk("remote", "train", "--gpu", name)
    assert (outcome.code, pushes(server)) == (2, 0)
    assert told in outcome.err


@pytest.mark.slow
def test_cancel_names_the_page_where_the_service_gives_no_way(kk, serve):
    serve()
    kk("remote", "train", "--name", "sleeps", "--gpu", "cpu", "--no-wait")
    outcome = kk("remote", "cancel")
    assert outcome.code == 2
    assert "stop it on its page: http://127.0.0.1" in outcome.err
    assert kk("remote", "pull").code == 75


@pytest.mark.slow
def test_cancel_stops_the_session_where_its_number_is_told(kk, serve):
    serve({"tell_sessions": True})
    kk("remote", "train", "--name", "sleeps", "--gpu", "cpu", "--no-wait")
    assert kk("remote", "cancel").code == 0
    kk("remote", "logs", "-f")
    outcome = kk("remote", "pull")
    assert outcome.code == 75
    assert "was cancelled" in outcome.err
    assert kk("remote", "cancel").code == 2


@pytest.mark.slow
def test_wait_that_ends_leaves_the_notebook_running(kk, serve):
    serve()
    outcome = kk(
        "remote",
        "train",
        "--name",
        "sleeps",
        "--gpu",
        "cpu",
        "--set",
        "remote.wait_s=0.3",
        "--set",
        "service.log_quiet_s=0.1",
    )
    assert outcome.code == 75
    assert "it goes on by itself" in outcome.err


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (".env", "A=1", "file of secrets"),
        ("kaggle.json", "{}", "file of secrets"),
        ("rows.txt", f"1\n{SECRET}\n", "holds the credentials that are in use here"),
        ("rows.txt", "1\n# KGAT_aaaabbbbccccddddeeee\n", "looks like a Kaggle token"),
        ("rows.txt", '{"username": "ann", "key": "0123456789abcdef0123456789abcdef"}', "looks like a Kaggle key"),
        ("rows.txt", "-----BEGIN RSA PRIVATE KEY-----", "looks like a private key"),
    ],
)
def test_secret_is_refused_and_nothing_is_sent(kk, serve, project, name, content, told):
    server = serve()
    (project / name).write_text(content)
    outcome = kk("remote", "train", "--name", "done", "--gpu", "cpu", "--set", f"data.drop_captions={name}")
    assert (outcome.code, pushes(server)) == (2, 0)
    assert told in outcome.err
    assert SECRET not in outcome.err + outcome.out


@pytest.mark.parametrize(
    ("setting", "code", "told"),
    [
        ("remote.pack_mb=0.001", 2, "more than remote.pack_mb = 0.001 allows; the largest files"),
        ("data.extra=more.npz", 2, "data.extra = more.npz lies on this machine"),
        ("data.drop_captions=none.txt", 8, "no such file"),
    ],
)
def test_what_cannot_go_along_is_refused_before_the_push(kk, serve, setting, code, told):
    server = serve()
    outcome = kk("remote", "train", "--name", "done", "--gpu", "cpu", "--set", setting)
    assert (outcome.code, pushes(server)) == (code, 0)
    assert told in outcome.err


def test_settings_of_the_notebook_are_those_in_force_here(kk, serve, project, monkeypatch):
    serve()
    (project / "rows.txt").write_text("1\n2\n")
    monkeypatch.setenv("KK_TRAIN_SEED", "7")
    kk("remote", "train", "--name", "done", "--gpu", "cpu", "--folds", "3", "--set", "data.drop_captions=rows.txt")
    from kaggle_kit.workflow.notebooks.pack import make_pack
    from kaggle_kit.workflow.project import load_project

    here = load_project(overrides={"folds.count": 3, "data.drop_captions": "rows.txt"})
    there = project.parent / "there"
    there.mkdir()
    for name, content in make_pack(here, here.settings, None).files.items():
        if name.startswith("project/"):
            (there / name.removeprefix("project/")).write_bytes(content)
    assert (there / "rows.txt").read_text() == "1\n2\n"
    monkeypatch.delenv("KK_TRAIN_SEED")
    assert load_project(there).settings.digest() == here.settings.digest()


def test_code_competition_takes_the_file_of_the_version_that_was_pushed(kk, serve):
    serve(code_only=True)
    kk("remote", "train", "--name", "done", "--gpu", "cpu", "--no-wait")
    outcome = kk("--json", "remote", "submit", "-m", "two cards")
    assert outcome.code == 0, outcome.err
    record = outcome.json
    assert (record["state"], record["kernel"]["version"], record["kernel"]["file"]) == ("scored", 1, "submission.csv")
    assert (record["run"], record["cv"]) == (RUN.format("done"), 0.5)
    assert kk("remote", "submit", "-m", "again").code == 5


@pytest.mark.slow
def test_notebook_that_can_only_be_seen_after_a_while_is_waited_for(kk, serve):
    server = serve()
    server.fault("GetKernelSessionStatus", rpc_error(403, "Permission 'kernelSessions.get' was denied"), times=3)
    assert kk("remote", "train", "--name", "done", "--gpu", "cpu").code == 0
    server.fault("GetKernelSessionStatus", rpc_error(403, "Permission 'kernelSessions.get' was denied"), times=99)
    assert kk("remote", "train", "--name", "done", "--gpu", "cpu").code == 4


@pytest.mark.parametrize(
    "words", [["--name", "x", "--resume"], ["--no-wait", "--until-done"], ["--resume", "--epochs", "3"]]
)
def test_options_that_exclude_each_other_are_refused(kk, project, words):
    assert kk("remote", "train", *words).code == 2


def test_nothing_known_is_told_kindly(kk, project):
    assert "kk remote train starts one" in kk("remote", "list").out
    assert kk("remote", "status").code == 8


def test_record_that_is_broken_is_an_error_that_names_it(kk, project):
    folder = project / "models_archive" / "remote"
    folder.mkdir(parents=True)
    (folder / "kk-x.json").write_text('{"schema": 1}')
    outcome = kk("remote", "list")
    assert outcome.code == 3
    assert "kk-x.json is no record of a remote training" in outcome.err


@pytest.mark.slow
def test_broken_record_beside_others_takes_none_of_them_away(kk, serve, project):
    serve()
    name = kk("--json", "remote", "train", "--name", "done", "--gpu", "cpu").json["job"]["name"]
    (project / "models_archive" / "remote" / "kk-x.json").write_text('{"schema": 1}')
    listed = kk("--json", "remote", "list")
    assert [job["name"] for job in listed.json] == [name]
    assert "left out" in listed.err
    assert "kk-x.json is no record of a remote training" in listed.err
    assert kk("--json", "remote", "status", name).json["name"] == name
    owner = listed.json[0]["kernel"].partition("/")[0]
    for words in ((), ("kk-x",), (f"{owner}/kk-x",)):
        outcome = kk("remote", "status", *words)
        assert outcome.code == 3, "it may be the newest, or is the one that is meant"
        assert "kk-x.json is no record" in outcome.err
    assert kk("remote", "pull", f"{owner}/kk-x").code == 3
    broken = project / "models_archive" / "remote" / "kk-x.json"
    assert broken.read_text() == '{"schema": 1}', "what is left of it is not written over"
    os.utime(broken, (1, 1))
    assert kk("--json", "remote", "status").json["name"] == name, "the broken one was there long before"


@pytest.mark.slow
def test_run_goes_on_though_another_push_was_refused_since(kk, serve):
    server = serve()
    assert kk("remote", "train", "--name", "stops", "--gpu", "cpu").code == 75
    server.fault("SaveKernel", answer(200, b'{"error": "Maximum batch CPU session count of 5 reached."}'))
    assert kk("remote", "train", "--name", "done", "--gpu", "cpu").code == 6
    outcome = kk("--json", "remote", "train", "--resume", "--gpu", "cpu")
    assert outcome.code == 0, outcome.err
    assert outcome.json["job"]["run"] == RUN.format("stops")
