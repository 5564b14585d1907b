"""The options of the task `arrays`."""

from __future__ import annotations

from episodes.options import Option

OPTIONS = (
    Option("file", "path", "the .npz, .parquet or .csv file, a row an example", required=True),
    Option(
        "kind",
        "text",
        "what the target is: numbers or labels",
        "regression",
        choices=("regression", "classification"),
    ),
    Option("target", "names", "the column of the target, or several numbers", required=True),
    Option("features", "names", "the columns of the inputs; left out, all the others"),
    Option("task", "text", "the column that says which task a row belongs to"),
    Option("window", "whole number", "consecutive rows of a task that make one example", least=1),
    Option(
        "splits",
        "path",
        "a JSON file of the tasks (or labels) of train, validation and test; left out, by share",
    ),
    Option("validation_share", "number", "of the tasks, for meta-validation", 0.2, least=0, most=1),
    Option("test_share", "number", "of the tasks, for meta-test", 0.2, least=0, most=1),
    Option("split_seed", "whole number", "draws which task is in which split", 0, least=0),
    Option("standardize", "switch", "scale inputs and numbers by meta-train's moments", True),
    Option("leave_out_small", "switch", "pass over tasks and labels with too few rows", False),
)
