"""Reconciliation: runs, staged lines, matching, findings, discrepancies, reports."""
