"""The folder of a dataset, laid out as a Hub dataset repository.

data/train-00000-of-00001.parquet      kept rows, the few-shots among them
rejected/train-00000-of-00001.parquet  the documents that became no row, with reasons
report.json, .md and .html, assets/    what happened
README.md                              the dataset card
run.yaml                               the settings of the run
"""

from __future__ import annotations

ROWS = "data/train-00000-of-00001.parquet"
REJECTS = "rejected/train-00000-of-00001.parquet"
RUN_YAML = "run.yaml"
