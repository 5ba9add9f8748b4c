"""The demo: stories of checkouts, and a day with payouts and a reconciliation, each compared with its plan."""
