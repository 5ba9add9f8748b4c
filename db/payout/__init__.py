"""Payouts: requests, runs, schedules, and the release of pending money."""
