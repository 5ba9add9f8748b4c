"""Search attributes of the workflows: what operators filter by in the Temporal UI."""

from temporalio.common import SearchAttributeKey

TENANT = SearchAttributeKey.for_keyword("PaysagaTenant")
CHECKOUT = SearchAttributeKey.for_keyword("PaysagaCheckout")
STATUS = SearchAttributeKey.for_keyword("PaysagaStatus")
"""Kept only for payments that leave the fast path: each change is an event, and those are the ones people look for."""
SEARCH_ATTRIBUTES = (TENANT, CHECKOUT, STATUS)
"""Shown in clear in the Temporal UI, so: no name, no e-mail, no token."""
