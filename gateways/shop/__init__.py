"""The servers of shops, which are sent events and are not trusted."""
