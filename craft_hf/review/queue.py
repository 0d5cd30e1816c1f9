"""Which samples a reviewer sees next, and how many are left."""

from __future__ import annotations

from typing import Any

from craft_hf.base import InputError
from craft_hf.quality import ANY
from craft_hf.review.decisions import ACCEPT, EDIT, REJECT
from craft_hf.review.store import ReviewStore


def queue(
    reviews: ReviewStore,
    reviewer: str = "",
    show: str = "open",
    order: str = "uncertain",
    dropped_by: str = "",
    text: str = "",
) -> list[str]:
    """Return ids of samples for a reviewer.

    Args:
        reviews: the store.
        reviewer: for whom.
        show: "open" for what this reviewer has not decided, "accept", "reject" or "edit" for what this reviewer
            did, "disagreed" for what reviewers do not agree on, "all".
        order: "uncertain" for the most uncertain first, "arrived" for the order in which they came.
        dropped_by: "" for kept samples, "any" for dropped ones, or the name of a check.
        text: part of the sample, in any case.

    Raises:
        InputError: `show` or `order` is unknown.
    """
    decided = "FROM standing s WHERE s.sample_id = sample.id"
    mine = f"SELECT verdict {decided} AND s.reviewer = :reviewer"
    conditions = {
        "open": f"NOT EXISTS ({mine})",
        "disagreed": f"1 < (SELECT count(DISTINCT s.verdict = 'reject') {decided})",
        "all": "1",
        **{verdict: f"'{verdict}' = ({mine})" for verdict in (ACCEPT, REJECT, EDIT)},
    }
    orders = {"uncertain": "uncertainty DESC, number", "arrived": "number"}
    if show not in conditions or order not in orders:
        raise InputError(
            f"show={show!r}, order={order!r}; expected one of {', '.join(conditions)}, and of {', '.join(orders)}."
        )
    dropped = {"": "dropped_by = ''", ANY: "dropped_by != ''"}.get(dropped_by, "dropped_by = :dropped_by")
    rows = reviews.query(
        f"SELECT id FROM sample WHERE {conditions[show]} AND {dropped} AND instr(text, :text) ORDER BY {orders[order]}",
        {"reviewer": reviewer, "dropped_by": dropped_by, "text": text.casefold()},
    )
    return [row["id"] for row in rows]


def counts(reviews: ReviewStore, reviewer: str = "") -> dict[str, Any]:
    """Return how many samples there are, kept and dropped by each check, and how many the reviewer has decided."""
    dropped = {r["dropped_by"]: r["n"] for r in reviews.query("SELECT dropped_by, count(*) n FROM sample GROUP BY 1")}
    mine = reviews.query("SELECT verdict, count(*) n FROM standing WHERE reviewer = ? GROUP BY 1", reviewer)
    seen = "SELECT count(DISTINCT sample_id) n FROM standing"
    return {
        "kept": dropped.pop("", 0),
        "dropped": dropped,
        "mine": {row["verdict"]: row["n"] for row in mine},
        "reviewed": reviews.query(seen)[0]["n"],
        "reviewers": len(reviews.query("SELECT DISTINCT reviewer FROM standing")),
    }
