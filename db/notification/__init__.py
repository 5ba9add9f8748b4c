"""Notifications to people: made of events, sent, and shown; and whom a tenant wants told."""
