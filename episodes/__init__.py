"""What to learn from: few-shot episodes, each a function of (split, seed, index) alone."""

from episodes.catalog import TASKS
from episodes.errors import DataError
from episodes.loader import EpisodeLoader
from episodes.options import Option
from episodes.registry import data_report, load
from episodes.task import Task

__all__ = ["TASKS", "DataError", "EpisodeLoader", "Option", "Task", "data_report", "load"]
