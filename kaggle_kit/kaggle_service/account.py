"""Whose credentials they are."""

from __future__ import annotations

from contextlib import suppress

from kaggle_kit.errors import MissingError, ServiceError
from kaggle_kit.kaggle_service.answers import Row, text, truth
from kaggle_kit.kaggle_service.calls import Calls
from kaggle_kit.kaggle_service.connection import Connection
from kaggle_kit.kaggle_service.failures import Call
from kaggle_kit.settings import ServiceSettings

_SERVICE, _TYPES = "security.OAuthService", "kagglesdk.security.types.oauth_service"


def account_of(connection: Connection, settings: ServiceSettings) -> str:
    """The name of the account behind the connection's access token, as addresses have it.

    Raises:
        CredentialsError: the token is refused.
        ServiceError: the service does not say.
    """
    token = connection.credentials.access_token
    calls = Calls(connection, settings, _SERVICE, _TYPES)
    request = calls.request("IntrospectTokenRequest", token=token or "")
    answer: Row = {}
    with suppress(MissingError):  # a server without the call
        answer = calls.rpc("IntrospectToken", request, Call("logging in"))
    if truth(answer, "active") and (name := text(answer, "username")):
        return name
    raise ServiceError(
        f"{calls.who} does not say whose token it is that comes from {connection.sources}",
        "is it revoked? name the account yourself: --set remote.owner=NAME (the NAME of kaggle.com/NAME)",
    )
