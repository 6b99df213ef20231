"""Which server is spoken to, and which ones are not."""

from __future__ import annotations

import pytest
from faults import SLUG, quick

from kaggle_kit.errors import UsageError
from kaggle_kit.kaggle_service import KaggleService, find_endpoint
from kaggle_kit.settings import ServiceSettings


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", None),
        ("https://www.kaggle.com", None),
        ("https://api.kaggle.com/v1", None),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://localhost:8000/api/v1/", "http://localhost:8000"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("https://mirror.example.org/kaggle/api/v1", "https://mirror.example.org/kaggle"),
    ],
)
def test_endpoint_is_reduced_to_its_base(given, url):
    assert find_endpoint(ServiceSettings(), {"KAGGLE_API_ENDPOINT": given}).url == url
    assert find_endpoint(ServiceSettings(endpoint=given), {}).url == url


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("http://example.org", "plain http to another machine"),
        ("http://127.0.0.1.example.org", "plain http to another machine"),
        ("ftp://127.0.0.1", "not an http"),
        ("127.0.0.1:8000", "not an http"),
        ("http://127.0.0.1:99999", "is not a URL"),
        ("https://user:planted@example.org", "holds a user or password"),
    ],
)
def test_unsafe_endpoint_is_refused_before_anything_is_sent(given, problem):
    with pytest.raises(UsageError, match=problem) as caught:
        KaggleService(ServiceSettings(), environ={"KAGGLE_API_ENDPOINT": given})
    assert "planted" not in str(caught.value)


def test_endpoint_with_the_api_path_works_over_http(server):
    service = KaggleService(quick(endpoint=f"{server.url}/api/v1/"))
    assert service.endpoint == server.url
    assert service.files(SLUG)
