"""The vocabulary and the rules of reconciliation."""
