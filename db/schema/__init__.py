"""The tables, one file per noun. Amounts are BIGINT minor units beside an ISO 4217 code; every row has its tenant."""
