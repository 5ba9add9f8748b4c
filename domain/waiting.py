"""Waiting: TODO docstring."""

from pydantic import Field

from domain.model import Frozen


def psp_queue(task_queue: str, psp: str) -> str:
    """The task queue of a PSP's durable calls: its own, so that a slow PSP holds up no other."""
    return f"{task_queue}-psp-{psp}"


class WaitPolicy(Frozen):
    """How long a payment waits, in seconds; from the settings, fixed when the workflow starts."""

    confirm_s: float = 86_400
    action_s: float = 3_600
    pending_s: float = 259_200
    authorization_s: float = Field(default=518_400, description="where the PSP does not say how long it holds")
    authorization_margin_s: float = Field(default=21_600, description="decided so long before the PSP lets go")
    evidence_warning_s: float = Field(default=172_800, description="a person is told so long before the deadline")
    poll_first_s: float = 5
    poll_max_s: float = 3_600
