"""The hot path: what nearly every payment and payout needs, each step one statement that decides nothing.

A statement writes what the rules have worked out, guarded by everything that they were worked out from. If its guard
does not hold (somebody else was there first, a seller's terms have changed, a key is taken) it writes nothing and
returns no row, and the general path, under the lock of the payment or payout, decides. Both leave the same rows.
"""
