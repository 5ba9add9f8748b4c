"""The matching of a PSP run, as set-based SQL over temporary tables that end with their transaction.

Two passes. The first is one hash join over everything in the window: it only finds what is plainly equal, our reference
on the line and all three sides alike to the last minor unit. The second takes what is left, a few rows, and looks each
of them up by index with everything that the ledger ever booked for it, in the window or not. So the time of a line does
not grow with their number, and nothing is decided on half of the facts: the lines that earlier runs saw of the same
objects are there too, whatever name they carry.

`rec_…` are the first pass's tables, `rest_…` the second's.
"""
