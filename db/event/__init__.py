"""Events on their way out: what is still to be done with them, who does it, and what was sent."""
