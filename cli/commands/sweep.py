"""Sweep: TODO docstring."""

from typing import TYPE_CHECKING

from cli.command_line import (
    steer,
)

if TYPE_CHECKING:
    pass


def sweep() -> None:
    """Look now for payments without a workflow and for webhooks that nobody has read."""
    from cli.operator_sweep import sweep_now

    steer(sweep_now)
