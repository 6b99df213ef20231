"""Credentials from every place where Kaggle's own tools look, and secrets that stay where they are."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import types
from datetime import UTC, datetime, timedelta

import pytest
import requests
from faults import SLUG, Notes, answer, quick

from kaggle_kit.errors import CredentialsError
from kaggle_kit.kaggle_service import Credentials, KaggleService, find_credentials, places_looked
from kaggle_kit.kaggle_service.credentials import all_credentials

TOKEN = "KGAT_planted-secret"


def header(credentials):
    return credentials(requests.Request("GET", "http://x").prepare()).headers["Authorization"]


def put(path, content, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(mode)
    return path


def test_nothing_anywhere_is_none(tmp_path):
    assert find_credentials({}, tmp_path) is None


def test_token_variable_holds_the_token_or_names_its_file(tmp_path):
    assert header(find_credentials({"KAGGLE_API_TOKEN": f" {TOKEN}\n"}, tmp_path)) == f"Bearer {TOKEN}"
    path = put(tmp_path / "token", TOKEN + "\n")
    found = find_credentials({"KAGGLE_API_TOKEN": str(path)}, tmp_path)
    assert (header(found), found.kind) == (f"Bearer {TOKEN}", "token")


@pytest.mark.parametrize("name", ["access_token", "access_token.txt"])
def test_token_file_of_the_home_folder(tmp_path, name):
    put(tmp_path / ".kaggle" / name, TOKEN)
    found = find_credentials({}, tmp_path)
    assert (header(found), found.source) == (f"Bearer {TOKEN}", f"~/.kaggle/{name}")


def test_user_name_and_key_from_variables(tmp_path):
    found = find_credentials({"KAGGLE_USERNAME": "me", "KAGGLE_KEY": "abc"}, tmp_path)
    assert (found.kind, found.username, header(found)) == ("key", "me", "Basic bWU6YWJj")


@pytest.mark.parametrize(
    "place", ["given/kaggle.json", ".kaggle/kaggle.json", ".config/kaggle/kaggle.json", "xdg/kaggle/kaggle.json"]
)
def test_kaggle_json_in_each_of_its_places(tmp_path, place):
    put(tmp_path / place, {"username": "me", "key": "abc"})
    environ = {"KAGGLE_CONFIG_DIR": str(tmp_path / "given")} if place.startswith("given") else {}
    if place.startswith("xdg"):
        environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    found = find_credentials(environ, tmp_path)
    assert (found.username, found.source) == ("me", f"~/{place}")


def test_user_name_from_the_environment_wins_over_the_file(tmp_path):
    put(tmp_path / ".kaggle/kaggle.json", {"username": "file", "key": "abc"})
    assert find_credentials({"KAGGLE_USERNAME": "variable"}, tmp_path).username == "variable"


def test_notebook_is_logged_in_by_its_own_token(tmp_path):
    path = put(tmp_path / "api-v1-token", TOKEN, 0o644)
    notes = Notes()
    environ = {"KAGGLE_KERNEL_RUN_TYPE": "Interactive", "KAGGLE_API_V1_TOKEN": str(path)}
    assert header(find_credentials(environ, tmp_path, progress=notes)) == f"Bearer {TOKEN}"
    assert notes.notes == [], "its mode is not the user's business"
    assert find_credentials({"KAGGLE_API_V1_TOKEN": str(path)}, tmp_path) is None


def test_secret_of_a_notebook_is_the_last_resort(tmp_path, monkeypatch):
    module = types.ModuleType("kaggle_secrets")
    module.__spec__ = types.SimpleNamespace()
    module.UserSecretsClient = lambda: types.SimpleNamespace(get_secret={"KAGGLE_API_TOKEN": TOKEN}.__getitem__)
    monkeypatch.setitem(sys.modules, "kaggle_secrets", module)
    found = find_credentials({"KAGGLE_KERNEL_RUN_TYPE": "Batch"}, tmp_path)
    assert (header(found), "secret" in found.source) == (f"Bearer {TOKEN}", True)
    assert find_credentials({}, tmp_path) is None


def test_secret_of_a_notebook_without_internet_is_none(tmp_path, monkeypatch):
    module = types.ModuleType("kaggle_secrets")
    module.__spec__ = types.SimpleNamespace()

    def fail(label):
        raise ConnectionError("Please ensure internet is on")

    module.UserSecretsClient = lambda: types.SimpleNamespace(get_secret=fail)
    monkeypatch.setitem(sys.modules, "kaggle_secrets", module)
    assert find_credentials({"KAGGLE_KERNEL_RUN_TYPE": "Batch"}, tmp_path) is None


def test_sources_come_in_the_order_of_the_official_client(tmp_path):
    put(tmp_path / ".kaggle/access_token", "KGAT_file")
    put(tmp_path / ".kaggle/kaggle.json", {"username": "me", "key": "abc"})
    put(tmp_path / ".kaggle/credentials.json", {"refresh_token": "refresh", "username": "me"})
    found = all_credentials({"KAGGLE_API_TOKEN": TOKEN}, tmp_path)
    assert [one.source for one in found] == [
        "KAGGLE_API_TOKEN", "~/.kaggle/access_token", "~/.kaggle/kaggle.json", "~/.kaggle/credentials.json",
    ]  # fmt: skip


def test_file_that_others_can_read_is_remarked_with_the_remedy(tmp_path):
    path = put(tmp_path / ".kaggle/kaggle.json", {"username": "me", "key": "abc"}, 0o644)
    notes = Notes()
    assert find_credentials({}, tmp_path, progress=notes) is not None
    assert notes.notes == [f"{path} can be read by other users of this machine: chmod 600 {path}"]


@pytest.mark.parametrize(
    ("name", "content", "remark"),
    [
        ("access_token", "KGAT_two words", "no usable token"),
        ("access_token", "KGAT_one\nKGAT_two", "no usable token"),
        ("kaggle.json", "{not json", "not the JSON"),
        ("kaggle.json", '{"username": "me"}', "a user name with its key is needed"),
        ("credentials.json", "{}", "no refresh token"),
    ],
)
def test_unusable_file_is_remarked_and_left_out(tmp_path, name, content, remark):
    put(tmp_path / ".kaggle" / name, content)
    notes = Notes()
    assert find_credentials({}, tmp_path, progress=notes) is None
    assert remark in notes.notes[0]
    assert "KGAT" not in notes.notes[0]


def test_token_variable_that_names_no_file_is_remarked(tmp_path):
    notes = Notes()
    assert find_credentials({"KAGGLE_API_TOKEN": "/no/such/file"}, tmp_path, progress=notes) is None
    assert "looks like a path" in notes.notes[0]


def test_places_looked_at_are_told(tmp_path):
    told = " ".join(places_looked({"KAGGLE_CONFIG_DIR": "/given"}, tmp_path))
    for place in ("KAGGLE_API_TOKEN", "access_token", "KAGGLE_USERNAME", "/given/kaggle.json", ".config/kaggle"):
        assert place in told


def test_secret_is_neither_shown_nor_written():
    credentials = Credentials.of_key("me", "planted", "somewhere")
    assert "planted" not in repr(credentials) + str(credentials) + f"{credentials!r}"
    for act in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="not written anywhere"):
            act(credentials)


def oauth(path, token, expires):
    put(
        path,
        {"refresh_token": "refresh-secret", "access_token": token, "access_token_expiration": expires.isoformat(),
         "username": "me", "scopes": []},
    )  # fmt: skip


def test_oauth_login_of_today_is_used(server, monkeypatch, tmp_path):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    oauth(tmp_path / "home/.kaggle/credentials.json", server.token, datetime.now(UTC) + timedelta(hours=5))
    assert KaggleService(quick()).files(SLUG)
    assert server.asked("GenerateAccessToken") == []


def test_oauth_login_that_has_run_out_is_renewed_once(server, monkeypatch, tmp_path):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    oauth(tmp_path / "home/.kaggle/credentials.json", "KGAT_old", datetime.now(UTC) - timedelta(minutes=5))
    server.fault(
        "GenerateAccessToken", answer(200, json.dumps({"token": server.token, "expiresIn": 3600}).encode()), times=9
    )
    service = KaggleService(quick())
    assert service.files(SLUG)
    assert service.files(SLUG)
    [renewal] = server.asked("GenerateAccessToken")
    assert "Authorization" not in renewal.headers


def test_oauth_login_that_is_revoked_is_a_refused_source(server, monkeypatch, tmp_path):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    oauth(tmp_path / "home/.kaggle/credentials.json", "KGAT_old", datetime.now(UTC) - timedelta(minutes=5))
    server.fault("GenerateAccessToken", answer(403, b'{"code":403,"message":"revoked refresh-secret"}'), times=9)
    with pytest.raises(CredentialsError, match=r"refused the credentials from ~/.kaggle/credentials.json") as caught:
        KaggleService(quick()).files(SLUG)
    assert "refresh-secret" not in str(caught.value)
