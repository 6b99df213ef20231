"""The only place that speaks to Kaggle: credentials, competitions, downloads, submissions, leaderboards.

The official ``kaggle`` package is imported here and nowhere else, and only when the first call is made.
"""

from .answers import CompetitionInfo, LeaderboardRow, Limits, RemoteFile, RemoteSubmission
from .credentials import Credentials, find_credentials, places_looked
from .download import Downloaded
from .endpoint import find_endpoint
from .failures import AnswerLost
from .service import KaggleService
from .unpack import Unpacked, unpack

__all__ = [
    "AnswerLost",
    "CompetitionInfo",
    "Credentials",
    "Downloaded",
    "KaggleService",
    "LeaderboardRow",
    "Limits",
    "RemoteFile",
    "RemoteSubmission",
    "Unpacked",
    "find_credentials",
    "find_endpoint",
    "places_looked",
    "unpack",
]
