"""Scripts that are pushed to the server run, and data sets are kept; seen through the real client."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from faults import SLUG, answer, quick, small_competition

from kaggle_kit.errors import CredentialsError, QuotaError, ServiceError
from kaggle_kit.kaggle_service import AnswerLost, KaggleService, Push
from kaggle_kit.rehearsal.kernel_host import KernelRules
from kaggle_kit.rehearsal.server import RehearsalServer

SCRIPT = "rehearsal/kk-script"


def push(service: KaggleService, text: str, kernel: str = SCRIPT, **more: object):
    return service.kernels.push(Push(kernel, kernel.partition("/")[2].replace("-", " "), text, **more))


def ended(service: KaggleService, version: int | None = None, kernel: str = SCRIPT):
    for _ in range(1000):
        status = service.kernels.status(kernel, version)
        if status.finished:
            return status
        time.sleep(0.01)
    raise AssertionError("never ended")


@pytest.fixture
def play(tmp_path):
    """Start a server with given rules for sessions."""
    opened: list[RehearsalServer] = []

    def start(**rules: object) -> KaggleService:
        hosted = small_competition(tmp_path / "hosted")
        opened.append(RehearsalServer(hosted, folder=tmp_path / "s", rules=KernelRules(**rules)).__enter__())
        return KaggleService(quick(), environ=opened[-1].environ())

    yield start
    for server in opened:
        server.__exit__(None, None, None)


def test_pushed_script_runs_in_a_notebook_of_its_own_and_leaves_files_and_a_log(play, tmp_path):
    service = play()
    text = """
import os, pathlib
root = pathlib.Path(os.environ["KK_NOTEBOOK_ROOT"])
print("attached", sorted(path.name for path in (root / "kaggle/input/competitions").iterdir()))
print("here", pathlib.Path.cwd() == root / "kaggle/working", flush=True)
pathlib.Path("a/b").mkdir(parents=True)
pathlib.Path("a/b/x.txt").write_text("x" * 1000)
pathlib.Path(os.environ["HOME"], "y").mkdir(parents=True)
"""
    pushed = push(service, text, competitions=(SLUG,))
    assert (pushed.kernel, pushed.version) == (SCRIPT, 1)
    status = ended(service)
    assert (status.state, status.message) == ("ERROR", "Your notebook failed: it ended with exit code 1.")
    log = [(line.stream, line.text) for line in service.kernels.log(SCRIPT)]
    assert [text for stream, text in log if stream == "stdout"] == [f"attached ['{SLUG}']", "here True"]
    assert "NotADirectoryError" in [text for stream, text in log if stream == "stderr"][-1]  # no HOME to write to
    output = service.kernels.output(SCRIPT, 1)
    assert [(file.name, file.size) for file in output.files] == [("a/b/x.txt", 1000)]
    assert [(line.stream, line.text) for line in output.log] == log
    got = service.kernels.download(SCRIPT, 1, output.files[0], tmp_path / "got.txt")
    assert got.path.read_text() == "x" * 1000


def test_log_is_told_while_the_script_runs(play):
    service = play()
    push(service, "import time\nprint('first', flush=True)\ntime.sleep(60)")
    while service.kernels.status(SCRIPT).state == "QUEUED":
        time.sleep(0.01)
    assert next(service.kernels.log(SCRIPT)).text == "first"


def test_session_that_lasts_too_long_is_asked_to_end_then_killed(play):
    service = play(session_limit_s=0.5, grace_s=5.0)
    text = "import signal, time, sys\nsignal.signal(15, lambda *_: (open('left.txt', 'w').close(), sys.exit()))\n"
    push(service, text + "time.sleep(60)")
    status = ended(service)
    assert status.state == "ERROR"
    assert "exceeded the max allowed execution duration" in status.message
    assert [file.name for file in service.kernels.output(SCRIPT).files] == ["left.txt"]


def test_next_version_gets_the_output_of_the_one_before(play):
    service = play()
    push(service, "open('state.txt', 'w').write('one')")
    ended(service)
    text = "import os\nprint(open(os.environ['KK_NOTEBOOK_ROOT'] + '/kaggle/input/notebooks/rehearsal/kk-script/state.txt').read())"
    assert push(service, text, kernels=(SCRIPT,)).version == 2
    assert ended(service, 2).state == "COMPLETE"
    assert [line.text for line in service.kernels.output(SCRIPT, 2).log] == ["one"]


@pytest.mark.parametrize(("internet", "logged_in"), [(True, True), (False, False)])
def test_only_a_session_with_internet_is_logged_in(play, internet, logged_in):
    service = play()
    text = "import os\nprint('KAGGLE_API_V1_TOKEN' in os.environ, 'https_proxy' in os.environ)"
    push(service, text, internet=internet)
    ended(service)
    assert [line.text for line in service.kernels.output(SCRIPT).log] == [f"{logged_in} {not internet}"]


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"machine": "Abacus"}, ServiceError, "Invalid machine shape: Abacus"),
        ({"competitions": ("elsewhere",)}, ServiceError, "could not attach: competition elsewhere"),
        ({"datasets": ("ann/none",), "kernels": ("ann/no",)}, ServiceError, "attach: dataset ann/none, kernel ann/no"),
        ({"kernel": "ann/kk-script"}, CredentialsError, "kernels.update"),
        ({"kind": "notebook"}, ServiceError, "Python scripts only"),
    ],
)
def test_error_inside_an_answer_that_says_all_is_well_is_an_error(play, change, error, reason):
    with pytest.raises(error, match=reason):
        push(play(), "print(1)", **change)


def test_no_hours_left_is_an_error_of_quota(play):
    service = play(gpu_hours=0.0)
    with pytest.raises(QuotaError, match="Maximum weekly GPU quota"):
        push(service, "print(1)", machine="NvidiaTeslaT4")
    assert service.kernels.quota()["gpu"].left_s == 0


def test_session_is_stopped_where_the_service_tells_its_number(play):
    service = play(tell_sessions=True)
    session = push(service, "import time\ntime.sleep(60)").session
    while service.kernels.status(SCRIPT).state == "QUEUED":
        time.sleep(0.01)
    service.kernels.cancel(session)
    assert ended(service).state == "CANCEL_ACKNOWLEDGED"
    with pytest.raises(ServiceError, match="has ended already"):
        service.kernels.cancel(session)


def test_push_whose_answer_is_lost_is_not_made_twice_and_found_again(server):
    server.fault("SaveKernel", answer(503), times=9)
    service = KaggleService(quick(), environ=server.environ())
    with pytest.raises(AnswerLost, match="whether it does is not known"):
        push(service, "print('marked 77')")
    assert sum("SaveKernel" in seen.route for seen in server.requests) == 1
    assert service.kernels.find(SCRIPT, "marked 77") is None
    server.faults.clear()
    push(service, "print('marked 77')")
    assert service.kernels.find(SCRIPT, "marked 77").version == 1
    assert service.kernels.find(SCRIPT, "marked 78") is None


@pytest.mark.slow
def test_long_list_of_files_is_read_to_its_end(play):
    service = play()
    push(service, "[open(f'{n}.txt', 'w').close() for n in range(250)]")
    ended(service)
    assert len(service.kernels.output(SCRIPT).files) == 250


def test_listing_shows_what_ran_newest_first(play):
    service = play()
    push(service, "print(1)")
    push(service, "print(1)", "rehearsal/kk-other")
    ended(service, kernel="rehearsal/kk-other")
    assert [row.ref for row in service.kernels.list(service.username)] == ["rehearsal/kk-other", SCRIPT]


def test_data_set_is_made_versioned_and_attached(play, tmp_path):
    service = play()
    ref, wheel = "rehearsal/kk-wheels", tmp_path / "a-1.whl"
    assert service.datasets.status(ref) is None
    wheel.write_bytes(b"one")
    service.datasets.create(ref, "kk wheels", [wheel])
    assert service.datasets.status(ref) == "READY"
    wheel.write_bytes(b"two")
    service.datasets.add_version(ref, "second", [wheel])
    text = "import os\nprint(open(os.environ['KK_NOTEBOOK_ROOT'] + '/kaggle/input/datasets/rehearsal/kk-wheels/a-1.whl').read())"
    push(service, text, datasets=(ref,))
    ended(service)
    assert [line.text for line in service.kernels.output(SCRIPT).log] == ["two"]
    with pytest.raises(ServiceError, match="already in use"):
        service.datasets.create(ref, "kk wheels", [wheel])


@pytest.mark.slow
def test_restarted_server_knows_what_ran(tmp_path):
    hosted = small_competition(tmp_path / "hosted")
    for version in (1, 2):
        with RehearsalServer(hosted, folder=tmp_path / "s") as server:
            service = KaggleService(quick(), environ=server.environ())
            assert push(service, f"print({version})").version == version
            ended(service)
            logs = [service.kernels.output(SCRIPT, number).log[0].text for number in range(1, version + 1)]
            assert logs == ["1", "2"][:version]


@pytest.mark.slow
def test_server_that_stops_ends_what_runs(tmp_path):
    hosted = small_competition(tmp_path / "hosted")
    with RehearsalServer(hosted, folder=tmp_path / "s") as server:
        service = KaggleService(quick(), environ=server.environ())
        push(service, "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)")
        file = tmp_path / "s" / "kernels" / SCRIPT / "1" / "root" / "kaggle" / "working" / "pid"
        while not file.exists() or not file.read_text():
            time.sleep(0.01)
        pid = file.read_text()
    assert not Path("/proc").is_dir() or not Path("/proc", pid).exists()
