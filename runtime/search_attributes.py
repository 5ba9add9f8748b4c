"""Search attributes of the workflows: what operators filter by in the Temporal UI."""

from temporalio.common import SearchAttributeKey

TENANT = SearchAttributeKey.for_keyword("PaysagaTenant")
CHECKOUT = SearchAttributeKey.for_keyword("PaysagaCheckout")
STATUS = SearchAttributeKey.for_keyword("PaysagaStatus")
"""Kept only for payments that do not go as planned: each change is an event, and those are the ones people look for.
One that runs and has none is in its first task, or waits for its capture."""
SEARCH_ATTRIBUTES = (TENANT, CHECKOUT, STATUS)
"""Shown in clear in the Temporal UI, so: no name, no e-mail, no token."""
