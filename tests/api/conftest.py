"""What the sandbox has to allow for money that only our books have."""

from collections.abc import AsyncIterator

import pytest

from tests.support.deployment import Deployment


@pytest.fixture(scope="module")
async def boundless(paysaga: Deployment) -> AsyncIterator[None]:
    """The sandbox pays out more than its account has; other tests want it as it is."""
    await paysaga.sandbox.configure(check_available_balance=False)
    yield
    await paysaga.sandbox.configure(check_available_balance=True)
