"""Notebooks through the real client, against a server that misbehaves, and answers in the spellings that have been met."""

from __future__ import annotations

import time

import orjson
import pytest
from faults import answer, drop_after, flip, quick, rpc_error

from kaggle_kit.errors import CredentialsError, ServiceError
from kaggle_kit.kaggle_service import KaggleService, Push
from kaggle_kit.kaggle_service.answers import whole
from kaggle_kit.kaggle_service.kernels import read_log

KERNEL = "rehearsal/kk-script"


@pytest.fixture
def ran(server):
    """A service whose notebook has run and left one file."""
    service = KaggleService(quick(log_quiet_s=0.3), environ=server.environ())
    service.kernels.push(Push(KERNEL, "kk script", "print('one')\nopen('x.bin', 'wb').write(b'x' * 300_000)"))
    while not service.kernels.status(KERNEL).finished:
        time.sleep(0.01)
    return service


def answered(server, call: str, **document: object) -> None:
    """Have the next call answered with ``document``."""
    server.fault(f"/{call}$", answer(200, orjson.dumps(document)))


@pytest.mark.parametrize(
    ("sent", "state"),
    [
        ("COMPLETE", "COMPLETE"),
        ("complete", "COMPLETE"),
        ("KernelWorkerStatus.ERROR", "ERROR"),
        ("cancelAcknowledged", "CANCEL_ACKNOWLEDGED"),
        (1, "RUNNING"),
        (None, "QUEUED"),
        ("SOMETHING_NEW", "RUNNING"),
    ],
)
def test_state_is_read_in_every_spelling(ran, server, sent, state):
    answered(server, "GetKernelSessionStatus", status=sent)
    assert ran.kernels.status(KERNEL).state == state


def test_push_in_the_service_s_own_words(ran, server):
    url = "https://www.kaggle.com/code/ann/kk-script"
    for ref in ("/code/ann/kk-script", "ann/kk-script", url):
        answered(server, "SaveKernel", ref=ref, url=url, versionNumber=7, invalidTags=["x"])
        pushed = ran.kernels.push(Push(KERNEL, "kk script", "1"))
        assert (pushed.kernel, pushed.version, pushed.url) == ("ann/kk-script", 7, url)


def test_hours_are_read_with_fractions_reservations_and_what_is_left_out(ran, server):
    gpu = {"timeUsed": "3600.5s", "timeReserved": "1800s", "totalTimeAllowed": "108000s"}
    answered(
        server, "GetAcceleratorQuotaStatistics", quotaRefreshTime="2026-11-28T00:00:00Z", gpuQuota=gpu, tpuQuota={}
    )
    quota = ran.kernels.quota()
    assert (quota["gpu"].used_s, quota["gpu"].left_s) == (5400.5, 102599.5)
    assert quota["tpu"].left_s == 0
    server.fault("GetAcceleratorQuotaStatistics", rpc_error(403, "Permission 'kernels.quota' was denied"))
    assert ran.kernels.quota() == {}


def test_link_that_has_expired_is_asked_for_anew(ran, server, tmp_path):
    [file] = ran.kernels.output(KERNEL).files
    server.fault("/storage/kernels/", answer(403, b"<html><title>Expired</title></html>", "text/html"))
    assert ran.kernels.download(KERNEL, 1, file, tmp_path / "x").size == 300_000
    assert sum(seen.route.endswith("ListKernelSessionOutput") for seen in server.requests) == 2


@pytest.mark.parametrize("fault", [drop_after(100_000), flip(1000)])
def test_file_that_came_damaged_or_in_part_is_fetched_until_it_is_whole(ran, server, tmp_path, fault):
    [file] = ran.kernels.output(KERNEL).files
    server.fault("/storage/kernels/", fault)
    got = ran.kernels.download(KERNEL, 1, file, tmp_path / "x")
    assert got.path.read_bytes() == b"x" * 300_000


def test_log_that_is_silent_is_left_in_time(server):
    service = KaggleService(quick(log_quiet_s=0.2, read_timeout_s=60.0), environ=server.environ())
    service.kernels.push(Push(KERNEL, "kk script", "import time\nprint('one', flush=True)\ntime.sleep(60)"))
    while service.kernels.status(KERNEL).state == "QUEUED":
        time.sleep(0.01)
    lines = service.kernels.log(KERNEL)
    assert next(lines).text == "one"
    with pytest.raises(ServiceError, match=r"broke off: no answer within 0\.2 s"):
        next(lines)


def test_log_without_a_stream_is_an_error_that_can_be_lived_with(ran, server):
    server.fault("logs/stream", rpc_error(403, "Permission 'kernels.get' was denied"))
    with pytest.raises(CredentialsError, match=r"reading the log of rehearsal/kk-script was refused \(403"):
        list(ran.kernels.log(KERNEL))


@pytest.mark.parametrize(
    ("stored", "texts"),
    [
        (
            '[{"stream_name":"stdout","time":0.1,"data":"a\\n"},{"stream_name":"stderr","time":2,"data":"\\u001b[31mb\\u001b[0m"}]',
            ["a", "b"],
        ),
        ("plain\nlines\n", ["plain", "lines"]),
        ("", []),
        ("[]", []),
    ],
)
def test_stored_log_is_read_in_both_forms(stored, texts):
    assert [line.text for line in read_log(stored)] == texts


def test_refusal_names_the_notebook_s_own_page(ran):
    with pytest.raises(CredentialsError, match=r"kernels\.get") as caught:
        ran.kernels.status("ann/other")
    assert "/code/ann/other" in caught.value.hint


def test_account_is_asked_of_the_service_or_known_from_the_key(server):
    assert KaggleService(quick(), environ=server.environ()).username == "rehearsal"
    environ = {**server.environ(), "KAGGLE_USERNAME": "ann", "KAGGLE_KEY": "k"}
    del environ["KAGGLE_API_TOKEN"]
    assert KaggleService(quick(), environ=environ).username == "ann"
    answered(server, "IntrospectToken", active=False)
    server.fault("IntrospectToken", rpc_error(404, "Not found"))
    for _ in range(2):
        with pytest.raises(ServiceError, match="does not say whose token it is"):
            _ = KaggleService(quick(), environ=server.environ()).username


@pytest.mark.parametrize("told", [2**53 + 1, str(2**53 + 1)])
def test_whole_numbers_are_exact_however_long(told):
    assert whole({"sessionId": told}, "sessionId") == 2**53 + 1
    assert whole({"session_id": f"{told}.0"}, "sessionId") is not None
    assert whole({"sessionId": True}, "sessionId") is None
