"""Risk rules and reviews over HTTP."""
