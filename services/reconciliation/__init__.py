"""Reconciliations as HTTP and terminal see them: starting a run, its files, its log and its report."""
