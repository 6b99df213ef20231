"""The only place that speaks to Kaggle: credentials, competitions, downloads, submissions, leaderboards, notebooks, data sets.

The official ``kaggle`` package is imported here and nowhere else, and only when the first call is made.
"""

from .answers import CompetitionInfo, LeaderboardRow, Limits, RemoteFile, RemoteSubmission
from .credentials import Credentials, find_credentials, places_looked
from .datasets import Datasets
from .download import Downloaded
from .endpoint import find_endpoint
from .failures import AnswerLost
from .kernels import Kernel, KernelFile, KernelOutput, Kernels, KernelStatus, LogLine, Push, Pushed, Quota
from .service import KaggleService
from .unpack import Unpacked, unpack

__all__ = [
    "AnswerLost",
    "CompetitionInfo",
    "Credentials",
    "Datasets",
    "Downloaded",
    "KaggleService",
    "Kernel",
    "KernelFile",
    "KernelOutput",
    "KernelStatus",
    "Kernels",
    "LeaderboardRow",
    "Limits",
    "LogLine",
    "Push",
    "Pushed",
    "Quota",
    "RemoteFile",
    "RemoteSubmission",
    "Unpacked",
    "find_credentials",
    "find_endpoint",
    "places_looked",
    "unpack",
]
