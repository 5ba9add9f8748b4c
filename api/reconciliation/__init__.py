"""`/v1/reconciliations`: runs, their items, log and report."""
