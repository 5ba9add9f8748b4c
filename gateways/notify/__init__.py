"""Channels to people: mail, SMS and WhatsApp, and the mailbox of the embedded stack in their place."""
