"""Every patch id there is: a change of a workflow's steps that runs of the release before have to survive.

A new one begins with the release that brings it. It is deleted with its old branch once no such run is left: short
workflows after the next release, payments after the longest deadline.
"""

CHECK_PAYOUT_RETRY = "0.3-check-payout-retry"
SWEEP_DISPUTES = "0.2-sweep-disputes"
SWEEP_PAYOUTS = "0.3-sweep-payouts"
SWEEP_RECONCILIATIONS = "0.3-sweep-reconciliations"
SECOND_ANSWER_SHOWN = "0.4-second-answer-shown"
