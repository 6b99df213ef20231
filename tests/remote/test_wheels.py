"""What an offline notebook installs from: built, compared with what the image has, published."""

from __future__ import annotations

import json
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
from faults import answer

from kaggle_kit.workflow.notebooks import script
from kaggle_kit.workflow.notebooks.wheel import WHEEL_NAME
from kaggle_kit.workflow.notebooks.wheels import platforms_of


@pytest.fixture
def image(project):
    """What an image has: everything that is installed here, but for some and in other versions where told."""

    def write(*without: str, **versions: str):
        there = {found.metadata["Name"]: found.version for found in distributions()} | versions
        rows = [{"name": name, "version": version} for name, version in there.items() if name not in without]
        (project / "image.json").write_text(json.dumps(rows))
        return "image.json"

    return write


def small_wheel(folder: Path, name: str, version: str) -> None:
    """A wheel with one empty module."""
    info = f"{name}-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.mark.slow
def test_notebook_installs_what_its_image_lacks_into_a_folder_of_its_own(tmp_path, monkeypatch):
    inputs, scratch = tmp_path / "input", tmp_path / "scratch"
    small_wheel(inputs / "datasets" / "ann" / "kk-wheels", "made_up_package", "2.0")
    job = {"requires": ["click>=8.1", "made-up-package>=1"], "wheels": "ann/kk-wheels"}
    monkeypatch.setattr(script, "JOB", job)
    script.install_missing(inputs, scratch)
    assert (scratch / "site" / "made_up_package.py").is_file()
    assert not (scratch / "site" / "click").exists()
    monkeypatch.setattr(script, "JOB", {**job, "wheels": "ann/none"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SystemExit, match="the image lacks made-up-package>=1, and they could not be installed"):
        script.install_missing(inputs, scratch)


def test_only_ours_is_built_for_an_image_that_has_all_else(kk, image):
    made = kk("--json", "wheels", "--no-push", "--have", image())
    assert made.code == 0, made.err
    assert [path.rpartition("/")[2] for path in made.json["files"]] == [WHEEL_NAME]
    assert (made.json["missing"], made.json["notes"], made.json["ref"]) == ([], [], None)


def test_what_is_large_is_never_downloaded_and_what_is_old_is_left_and_told(kk, image):
    made = kk("--json", "wheels", "--no-push", "--have", image("torch", numpy="1.20.0"))
    assert made.code == 0, made.err
    assert made.json["missing"] == []
    assert any("lacks torch" in note for note in made.json["notes"])
    assert any("has numpy 1.20.0, and numpy>=1.24 is asked for" in note for note in made.json["notes"])


@pytest.mark.slow
def test_exactly_what_the_image_lacks_is_downloaded(kk, image, project, monkeypatch, tmp_path):
    small_wheel(tmp_path, "six", "1.17.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    made = kk("--json", "wheels", "--no-push", "--have", image("six"))
    assert made.code == 0, made.err
    assert made.json["missing"] == ["six"]
    assert [path.rpartition("/")[2] for path in made.json["files"]] == [WHEEL_NAME, "six-1.17.0-py3-none-any.whl"]


@pytest.mark.slow
def test_what_pip_cannot_get_is_an_error_with_its_reason(kk, image, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    outcome = kk("wheels", "--no-push", "--have", image("six"))
    assert outcome.code == 6
    assert "No matching distribution found for six" in outcome.err


def test_wheels_become_a_private_data_set_then_its_next_version(kk, serve, image, tmp_path):
    server = serve()
    first = kk("--json", "wheels", "--have", image())
    assert first.code == 0, first.err
    assert (first.json["ref"], first.json["mount"]) == (
        "rehearsal/kk-wheels",
        "/kaggle/input/datasets/rehearsal/kk-wheels",
    )
    second = kk("wheels", "--have", image())
    assert second.code == 0, second.err
    assert "gave rehearsal/kk-wheels a new version" in second.err
    assert "--find-links=/kaggle/input/datasets/rehearsal/kk-wheels" in second.out
    files = server.datasets.files_of("rehearsal/kk-wheels")
    assert [path.name for path in files.iterdir()] == [WHEEL_NAME]
    assert files.parent.name == "2"


def test_data_set_that_never_gets_ready_is_left_to_itself(kk, serve, image):
    server = serve()
    assert kk("wheels", "--have", image()).code == 0
    server.fault("GetDatasetStatus", answer(200, b'{"status": "BLOBS_RECEIVED"}'), times=10_000)
    outcome = kk("wheels", "--have", image(), "--set", "wheels.ready_s=0.05")
    assert outcome.code == 75
    assert "is not ready after" in outcome.err


def test_every_older_platform_is_asked_for_too():
    names = platforms_of("manylinux_2_28_x86_64")
    assert names[0] == "manylinux_2_28_x86_64"
    assert {"manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_5_x86_64", "manylinux1_x86_64"} <= set(names)
    assert platforms_of("macosx_11_0_arm64") == ["macosx_11_0_arm64"]


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [(None, 8, "no such file"), ("numpy==2.0", 3, "is not what pip list --format json prints")],
)
def test_list_that_is_none_is_an_error(kk, project, content, code, told):
    if content is not None:
        (project / "image.json").write_text(content)
    outcome = kk("wheels", "--no-push", "--have", "image.json")
    assert outcome.code == code
    assert told in outcome.err


def test_folder_that_holds_something_else_is_left_alone(kk, project, image):
    (project / "wheels").mkdir()
    (project / "wheels" / "mine.txt").write_text("mine")
    outcome = kk("wheels", "--no-push", "--have", image())
    assert outcome.code == 2
    assert (project / "wheels" / "mine.txt").read_text() == "mine"
