"""What was trained and what was sent: one folder a record, one JSON file in it that is the truth.

``models_archive/<run>/run.json`` and ``submissions_archive/<submission>/record.json`` are written atomically and can be read by anyone; the
SQLite index beside them is a cache that is rebuilt from them whenever it is missing, stale or broken.
"""

from kaggle_kit.archive.chain import ChainChecks, Link, chain, run_chain
from kaggle_kit.archive.history import SORTS, HistoryTable, by_day, day_of, history_table, made_by, run_table
from kaggle_kit.archive.ids import new_id
from kaggle_kit.archive.migrations import Migrations
from kaggle_kit.archive.provenance import provenance
from kaggle_kit.archive.prune import PruneItem, PrunePlan, PruneRule, plan_prune, prune
from kaggle_kit.archive.prune_runs import RunPruneRule, plan_prune_runs
from kaggle_kit.archive.records import Broken, Listing, Record, RecordChanged, RecordStore
from kaggle_kit.archive.runs import RunStore, basis_of
from kaggle_kit.archive.standing import (
    Standing,
    add_standing,
    read_limit,
    read_standings,
    remember_limit,
    standing_change,
)
from kaggle_kit.archive.submissions import SubmissionStore

__all__ = [
    "SORTS",
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
    "RunPruneRule",
    "RunStore",
    "Standing",
    "SubmissionStore",
    "add_standing",
    "basis_of",
    "by_day",
    "chain",
    "day_of",
    "history_table",
    "made_by",
    "new_id",
    "plan_prune",
    "plan_prune_runs",
    "provenance",
    "prune",
    "read_limit",
    "read_standings",
    "remember_limit",
    "run_chain",
    "run_table",
    "standing_change",
]
