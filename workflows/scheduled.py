"""The time for which a workflow was scheduled."""

from datetime import datetime

from temporalio import workflow
from temporalio.common import SearchAttributeKey

SCHEDULED_AT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
"""The time that the schedule meant; a backfill or a late start has another time of its own."""


def business_moment() -> datetime:
    """The time for which a schedule started this workflow, or, started by hand, when it was started."""
    scheduled = workflow.info().typed_search_attributes.get(SCHEDULED_AT)
    return scheduled or workflow.info().start_time
