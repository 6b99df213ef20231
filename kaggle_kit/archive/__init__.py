"""What was trained and what was sent: one folder a record, one JSON file in it that is the truth.

``models_archive/<run>/run.json`` and ``submissions_archive/<submission>/record.json`` are written atomically and can be read by anyone; the
SQLite index beside them is a cache that is rebuilt from them whenever it is missing, stale or broken.
"""

from kaggle_kit.archive.chain import ChainChecks, Link, chain
from kaggle_kit.archive.history import HistoryTable, history_table
from kaggle_kit.archive.ids import new_id
from kaggle_kit.archive.migrations import Migrations
from kaggle_kit.archive.provenance import provenance
from kaggle_kit.archive.prune import PruneItem, PrunePlan, PruneRule, plan_prune, prune
from kaggle_kit.archive.records import Broken, Listing, Record, RecordChanged, RecordStore
from kaggle_kit.archive.runs import RunStore
from kaggle_kit.archive.submissions import SubmissionStore

__all__ = [
    "Broken",
    "ChainChecks",
    "HistoryTable",
    "Link",
    "Listing",
    "Migrations",
    "PruneItem",
    "PrunePlan",
    "PruneRule",
    "Record",
    "RecordChanged",
    "RecordStore",
    "RunStore",
    "SubmissionStore",
    "chain",
    "history_table",
    "new_id",
    "plan_prune",
    "provenance",
    "prune",
]
