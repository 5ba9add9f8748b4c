"""Money, states and allowed transitions, ids, errors, accounts and events. No I/O."""
