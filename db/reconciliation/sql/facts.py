"""The facts that both passes compare: the ledger's movements on our account at the PSP, one for each line that is
expected."""

# ruff: noqa: S608 - put together from constants of this package

from domain.ledger import Kind

MOVEMENT_COLUMNS = "t.id, t.tenant_id, t.kind, t.source_id, t.payment_id, t.at, p.currency, p.amount"

# A person's corrections (their source is the discrepancy) have no line.
REAL = r"t.kind <> 'adjustment' AND t.source_id NOT LIKE 'disc\_%'"

_CAPTURED = "'capture', 'suspense'"
_REFUNDED = "'refund', 'suspense_refund'"
_BACK = "'refund_reversal', 'suspense_refund_reversal'"
FEE_KINDS = "'psp_fee', 'dispute_fee'"
_TRANSFERS = "'payout_transfer', 'payout_transfer_reversal'"
_NAMED_BY_PSP = "'dispute_withdrawn', 'dispute_reinstated', 'bank_payout', 'bank_payout_reversal'"

_LINE_KIND = """
    CASE kind WHEN 'payout_transfer' THEN 'transfer' WHEN 'payout_transfer_reversal' THEN 'transfer_reversal'
              WHEN 'dispute_withdrawn' THEN 'dispute' WHEN 'dispute_reinstated' THEN 'dispute_reversal'
              WHEN 'bank_payout' THEN 'payout' WHEN 'bank_payout_reversal' THEN 'payout_reversal' ELSE 'other' END
"""


OTHER_KINDS = [
    str(kind)
    for kind in Kind
    if f"'{kind}'" not in f"{_CAPTURED}, {_REFUNDED}, {_BACK}, {FEE_KINDS}, {_TRANSFERS}, {_NAMED_BY_PSP}"
] + ["suspense"]
"""Kinds of transactions that become a fact of the kind `other`."""


def facts(movement: str) -> str:
    """`key`: what the line is matched by. `fact_key`: one for each movement at the PSP. `record_…`: our own record's
    word, with the line's sign. `psp_name`: the PSP's object as we know it; `txn`: its own name of the movement."""
    return f"""
    SELECT 'charge' AS kind, coalesce(c.id, m.payment_id) AS key, coalesce(c.id, m.payment_id) AS fact_key,
           c.id AS object_id, m.tenant_id, m.payment_id, c.reference AS psp_name, c.fee ->> 'reference' AS txn,
           m.amount, m.currency, c.received_amount AS record_amount, c.received_currency AS record_currency,
           c.outcome AS record_status, m.at, m.transaction_id
    FROM (SELECT tenant_id, payment_id, currency, sum(amount)::bigint AS amount, min(at) AS at,
                 min(id) AS transaction_id
          FROM {movement} WHERE kind IN ({_CAPTURED}) AND payment_id IS NOT NULL GROUP BY 1, 2, 3) m
    LEFT JOIN charge c ON c.payment_id = m.payment_id AND c.booked AND c.psp = :psp
    UNION ALL
    SELECT CASE WHEN m.back THEN 'refund_failure' ELSE 'refund' END, m.refund_id, m.fact_key, r.id, m.tenant_id,
           m.payment_id, r.reference, NULL, m.amount, m.currency, CASE WHEN m.back THEN r.amount ELSE -r.amount END,
           r.currency, r.status, m.at, m.transaction_id
    FROM (SELECT m.tenant_id, m.payment_id, m.currency, m.kind IN ({_BACK}) AS back,
                 coalesce(v.source_id, split_part(m.source_id, ':', 1)) AS refund_id,
                 coalesce(v.source_id, m.source_id) AS fact_key,
                 sum(m.amount)::bigint AS amount, min(m.at) AS at, min(m.id) AS transaction_id
          FROM {movement} m
          LEFT JOIN reserve v ON v.id = m.source_id AND m.kind IN ('refund', 'refund_reversal')
          WHERE m.kind IN ({_REFUNDED}, {_BACK}) GROUP BY 1, 2, 3, 4, 5, 6) m
    LEFT JOIN refund r ON r.id = m.refund_id
    UNION ALL
    SELECT {_LINE_KIND}, m.source_id, m.source_id, y.id, m.tenant_id, NULL, y.transfer_reference, NULL,
           m.amount, m.currency, CASE WHEN m.amount < 0 THEN -y.amount ELSE y.amount END, y.currency, y.status,
           m.at, m.id
    FROM {movement} m LEFT JOIN payout y ON y.id = m.source_id
    WHERE m.kind IN ({_TRANSFERS})
    UNION ALL
    SELECT {_LINE_KIND}, substr(m.source_id, length(:psp) + 2), m.source_id, NULL, m.tenant_id, m.payment_id, NULL,
           NULL, m.amount, m.currency, NULL, NULL, NULL, m.at, m.id
    FROM {movement} m WHERE m.kind IN ({_NAMED_BY_PSP})
    UNION ALL
    SELECT 'other', m.source_id, m.kind || ':' || m.source_id, NULL, m.tenant_id, m.payment_id, NULL, NULL,
           m.amount, m.currency, NULL, NULL, NULL, m.at, m.id
    FROM {movement} m
    WHERE m.kind NOT IN ({_CAPTURED}, {_REFUNDED}, {_BACK}, {FEE_KINDS}, {_TRANSFERS}, {_NAMED_BY_PSP})
       OR m.kind IN ({_CAPTURED}) AND m.payment_id IS NULL
    """


def fees(movement: str) -> str:
    return f"""
    SELECT substr(source_id, length(:psp) + 2) AS txn, currency, sum(amount)::bigint AS amount, min(at) AS at,
           min(tenant_id) AS tenant_id, min(payment_id) AS payment_id, min(id) AS transaction_id
    FROM {movement} WHERE kind IN ({FEE_KINDS}) GROUP BY 1, 2
    """


def table(name: str, query: str, *more: str) -> list[str]:
    """The statements that make a temporary table and let the planner know it: nobody else analyses one."""
    return [f"CREATE TEMP TABLE {name} ON COMMIT DROP AS {query}", *more, f"ANALYZE {name}"]


# Of a file, only what it can list is missing in it: not what the PSP paid to our bank, which Stripe's report of a
# balance's changes leaves out, and no currency that it has not at all.
LISTED = "(:listed OR {currency} IN (SELECT currency FROM rec_currency))"
