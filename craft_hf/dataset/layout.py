"""Which file of a dataset holds what, in a run's folder and in a dataset repository of the Hub.

data/train-*.parquet          rows: the few-shots first, then the generated ones
rejected/train-*.parquet      the documents that became no row, with reasons
run.yaml                      the settings of the run
report.json, .md and .html    what happened in the run; report.json is written last of all
assets/                       plots of the report
README.md                     the dataset card
"""

from __future__ import annotations

ROWS, REJECTS, PLOTS = "data", "rejected", "assets"
SETTINGS, CARD = "run.yaml", "README.md"
REPORT = "report.json"
REPORT_PAGES = REPORT_TEXT, REPORT_HTML = "report.md", "report.html"

PARQUET = "train-00000-of-00001.parquet"
"""Name of a file of rows, where there is one for all of them; datasets from elsewhere may have several."""

PARQUET_FILES, PARQUET_NAME = "train-*", r"train-\d+-of-\d+\.parquet"
"""All files of rows in a folder: as the Hub's pattern, and as a regular expression of their names."""

PARTS = {ROWS, REJECTS, PLOTS, SETTINGS, REPORT, *REPORT_PAGES, CARD}
"""All names in a dataset's folder."""
