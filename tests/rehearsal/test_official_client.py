"""The official client's own methods against the server: it speaks Kaggle's language, not only ours."""

from __future__ import annotations

import json
import time

import pytest
from faults import SECRET, small_competition

from kaggle_kit.kaggle_service.official import official_client_class
from kaggle_kit.rehearsal.server import RehearsalServer

pytestmark = pytest.mark.slow

KERNEL, DATASET = "rehearsal/kk-official-try", "rehearsal/kk-wheels"


@pytest.fixture
def api(tmp_path):
    """The official client, led to a server by nothing but its address."""
    base = official_client_class()
    from kagglesdk import KaggleEnv

    with RehearsalServer(small_competition(tmp_path / "hosted"), folder=tmp_path / "s", token=SECRET) as server:

        class Led(base):
            def build_kaggle_client(self):
                client = super().build_kaggle_client()
                http = client.http_client()
                http._endpoint, http._env, http._signed_in = server.url, KaggleEnv.LOCAL, False
                http._init_session()
                http._session.auth, http._session.trust_env = ("rehearsal", SECRET), False
                return client

        client = Led()
        client.config_values = {"username": "rehearsal", "key": SECRET}
        yield client


def test_script_is_pushed_watched_and_fetched(api, tmp_path):
    folder = tmp_path / "kernel"
    folder.mkdir()
    (folder / "s.py").write_text("print('hi')\nopen('o.txt', 'w').write('x')")
    metadata = {
        "id": KERNEL, "title": "kk official try", "code_file": "s.py", "language": "python", "kernel_type": "script", "is_private": True,
        "enable_gpu": True, "enable_internet": False, "competition_sources": ["demo-competition"], "machine_shape": "NvidiaTeslaT4",
    }  # fmt: skip
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata))
    pushed = api.kernels_push(str(folder))
    assert (pushed.version_number, pushed.error) == (1, "")
    while api.kernels_status(KERNEL).status.name in ("QUEUED", "RUNNING"):
        time.sleep(0.02)
    assert api.kernels_status(KERNEL).status.name == "COMPLETE"
    api.kernels_output(KERNEL, str(tmp_path / "out"))
    assert (tmp_path / "out" / "o.txt").read_text() == "x"
    assert [row["data"] for row in api.kernels_logs_stream(KERNEL)] == ["hi\n"]
    assert api.quota_view().gpu_quota.total_time_allowed.total_seconds() == 30 * 3600
    assert [row.ref for row in api.kernels_list(user="rehearsal")] == [KERNEL]


def test_data_set_is_made_and_versioned(api, tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "a.whl").write_bytes(b"abc")
    metadata = {"title": "kk wheels", "id": DATASET, "licenses": [{"name": "CC0-1.0"}]}
    (folder / "dataset-metadata.json").write_text(json.dumps(metadata))
    assert api.dataset_create_new(str(folder), quiet=True).status == "ok"
    assert api.dataset_status(DATASET) == "ready"
    assert api.dataset_create_version(str(folder), "second", quiet=True).status == "ok"
