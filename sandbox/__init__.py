"""A Stripe-API-compatible payment service provider that can be told to fail, delay, repeat and lie.

A server of its own: nothing here imports another room of the project, so that what the tests believe about
the provider never comes from the code under test. Start with `app.py`; `README.md` has the control API.
"""
