"""The official client is loaded without what its import does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LOAD = """
import sys
from kaggle_kit.kaggle_service.official import official_client_class
api = official_client_class()()
client = api.build_kaggle_client()
assert "kaggle" not in sys.modules
"""


def run(code: str, home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home), **environ}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


def test_loading_it_prints_nothing_creates_nothing_and_keeps_the_environment(tmp_path):
    home = tmp_path / "empty"
    home.mkdir()
    check = "import os; assert 'KAGGLE_CONFIG_DIR' not in os.environ; assert os.environ['VERBOSE'] == '1'"
    done = run(LOAD + check, home, VERBOSE="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.iterdir()) == []


def test_it_can_be_loaded_with_a_home_that_cannot_be_written_to(tmp_path):
    done = run(LOAD, Path("/proc/self/no-home"))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_verbose_mode_that_would_show_the_authorization_header_stays_off(tmp_path):
    done = run(LOAD + "assert client.http_client()._verbose is False", tmp_path, VERBOSE="true")
    assert done.returncode == 0, done.stderr


def test_a_later_import_of_the_official_package_works_as_ever(tmp_path):
    folder = tmp_path / ".kaggle"
    folder.mkdir()
    (folder / "kaggle.json").write_text('{"username": "me", "key": "abc"}')
    (folder / "kaggle.json").chmod(0o600)
    done = run(LOAD + "import kaggle\nprint(kaggle.api.config_values['username'])", tmp_path)
    assert done.stdout.splitlines()[-1:] == ["me"], done.stderr


def test_one_loaded_before_us_is_used(tmp_path):
    code = (
        "import sys\nfrom unittest import mock\nsys.argv = ['kaggle', '--version']\nimport kaggle\n"
        "from kaggle_kit.kaggle_service.official import official_client_class\n"
        "assert issubclass(official_client_class(), type(kaggle.api))"
    )
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
