"""The only place that speaks to Kaggle: credentials, competitions, downloads, submissions, leaderboards, notebooks, data sets.

The official ``kaggle`` package is imported here and nowhere else, and only when the first call is made.
"""

from kaggle_kit.kaggle_service.answers import (
    CompetitionInfo,
    LeaderboardRow,
    Limits,
    RemoteFile,
    RemoteSubmission,
    counted_on,
)
from kaggle_kit.kaggle_service.credentials import Credentials, find_credentials, places_looked
from kaggle_kit.kaggle_service.datasets import Datasets
from kaggle_kit.kaggle_service.download import Downloaded
from kaggle_kit.kaggle_service.endpoint import find_endpoint
from kaggle_kit.kaggle_service.failures import AnswerLost
from kaggle_kit.kaggle_service.kernels import (
    Kernel,
    KernelFile,
    KernelOutput,
    Kernels,
    KernelStatus,
    LogLine,
    Push,
    Pushed,
    Quota,
)
from kaggle_kit.kaggle_service.service import KaggleService
from kaggle_kit.kaggle_service.unpack import Unpacked, unpack

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
    "counted_on",
    "find_credentials",
    "find_endpoint",
    "places_looked",
    "unpack",
]
