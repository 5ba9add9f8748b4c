"""The day of the demo: checkouts at a failing PSP, payouts, and a reconciliation against falsified books."""
