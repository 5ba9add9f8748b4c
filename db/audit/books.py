"""The books themselves: the ledger, and the wallets that are its projection."""

# ruff: noqa: S608 - what is put into the queries are constants of the code

from db.audit.invariant import RESERVED, TERMS_GRACE, Invariant
from domain.status import MerchantStatus

BOOKS = (
    Invariant(
        "I1",
        "the postings of a transaction sum to zero",
        "ledger_transaction",
        """
        SELECT t.tenant_id, t.id AS object_id,
               format('%s of %s sums to %s %s', t.kind, t.source_id, sum(p.amount), p.currency) AS problem
        FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
        GROUP BY t.id, p.currency HAVING sum(p.amount) <> 0
        """,
    ),
    Invariant(
        "I2",
        "the whole ledger sums to zero",
        "ledger_posting",
        """
        SELECT tenant_id, currency AS object_id,
               format('all postings in %s sum to %s', currency, sum(amount)) AS problem
        FROM ledger_posting GROUP BY tenant_id, currency HAVING sum(amount) <> 0
        """,
    ),
    Invariant(
        "I3",
        "a wallet and its debt are the sums of their postings",
        "wallet",
        """
        WITH posted AS (
            SELECT tenant_id, split_part(account, ':', 2) AS seller, currency, split_part(account, ':', 3) AS bucket,
                   -sum(amount) AS total
            FROM ledger_posting WHERE account LIKE 'wallet:%' GROUP BY 1, 2, 3, 4
            UNION ALL
            SELECT tenant_id, split_part(account, ':', 2), currency, 'receivable', sum(amount)
            FROM ledger_posting WHERE account LIKE 'receivable:%' GROUP BY 1, 2, 3
        ), shown AS (
            SELECT tenant_id, seller_account AS seller, currency, bucket, total
            FROM wallet CROSS JOIN LATERAL
                 (VALUES ('pending', pending), ('available', available), ('reserved', reserved),
                         ('receivable', receivable)) AS b(bucket, total)
        )
        SELECT tenant_id, format('wallet:%s:%s', seller, bucket) AS object_id,
               format('its postings sum to %s %s and its balance is %s',
                      coalesce(posted.total, 0), currency, coalesce(shown.total::text, 'missing')) AS problem
        FROM posted FULL JOIN shown USING (tenant_id, seller, currency, bucket)
        WHERE shown.total IS NULL OR shown.total <> coalesce(posted.total, 0)
        """,
    ),
    Invariant(
        "I18",
        "the sums of days and months are those of the sealed postings",
        "ledger_balance",
        """
        WITH posted AS (
            SELECT p.tenant_id, p.account, p.currency, length.period,
                   date_trunc(length.period, t.at AT TIME ZONE 'UTC')::date AS starts_on, sum(p.amount) AS total
            FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
            CROSS JOIN (VALUES ('day'), ('month')) AS length (period)
            WHERE t.seq <= (SELECT max(seq) FROM ledger_seal_row)
            GROUP BY 1, 2, 3, 4, 5
        )
        SELECT tenant_id, account AS object_id,
               format('the %s from %s sums to %s %s and is kept as %s',
                      period, starts_on, coalesce(total, 0), currency, coalesce(amount::text, 'nothing')) AS problem
        FROM posted FULL JOIN ledger_balance USING (tenant_id, account, currency, period, starts_on)
        WHERE coalesce(total, 0) IS DISTINCT FROM amount
        """,
    ),
    Invariant(
        "I10",
        "one transaction per kind and source",
        "ledger_transaction",
        """
        SELECT min(tenant_id) AS tenant_id, source_id AS object_id,
               format('%s is booked %s times: %s', kind, count(*), string_agg(id, ', ' ORDER BY seq)) AS problem
        FROM ledger_transaction GROUP BY kind, source_id HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I11",
        "two postings or more, none zero, on an account of the currency",
        "ledger_posting",
        """
        SELECT t.tenant_id, t.id AS object_id,
               format('%s of %s has %s posting(s)', t.kind, t.source_id, count(p.seq)) AS problem
        FROM ledger_transaction t LEFT JOIN ledger_posting p ON p.transaction_id = t.id
        GROUP BY t.id HAVING count(p.seq) < 2
        UNION ALL
        SELECT tenant_id, transaction_id, format('posting %s to %s is zero', seq, account)
        FROM ledger_posting WHERE amount = 0
        UNION ALL
        SELECT p.tenant_id, p.transaction_id,
               format('posting %s is to %s in %s, which is no account', p.seq, p.account, p.currency)
        FROM ledger_posting p
        LEFT JOIN ledger_account a ON (a.tenant_id, a.name, a.currency) = (p.tenant_id, p.account, p.currency)
        WHERE a.name IS NULL
        UNION ALL
        SELECT p.tenant_id, p.transaction_id, format('posting %s has no transaction of its tenant', p.seq)
        FROM ledger_posting p LEFT JOIN ledger_transaction t ON t.id = p.transaction_id AND t.tenant_id = p.tenant_id
        WHERE t.id IS NULL
        """,
    ),
    Invariant(
        "I12",
        "no balance is negative, and no debt without a cause",
        "wallet",
        f"""
        SELECT tenant_id, format('wallet:%s:%s', seller_account, bucket) AS object_id,
               format('the balance is %s %s', total, currency) AS problem
        FROM wallet CROSS JOIN LATERAL
             (VALUES ('pending', pending), ('available', available), ('reserved', reserved),
                     ('receivable', receivable)) AS b(bucket, total)
        WHERE total < 0
        UNION ALL
        SELECT p.tenant_id, p.account, format('owes %s %s because of %s %s', p.amount, p.currency, t.kind, t.source_id)
        FROM ledger_posting p JOIN ledger_transaction t ON t.id = p.transaction_id
        WHERE p.account LIKE 'receivable:%' AND p.amount > 0 AND t.kind NOT IN ('refund_reserve', 'dispute_loss')
        UNION ALL
        -- What the PSP or a bank took is owed whatever the terms are; what we were asked to refund, by the terms alone.
        -- Of terms that were changed since, nobody can tell what they said then.
        SELECT v.tenant_id, format('receivable:%s', v.seller_account),
               format('owes %s %s for refund %s, which its terms do not allow', v.receivable, v.currency, v.source_id)
        FROM ({RESERVED}) v JOIN merchant m USING (tenant_id, seller_account)
        WHERE v.receivable > 0 AND v.status <> 'RELEASED' AND v.origin NOT IN ('psp', 'dispute')
          AND NOT (m.allow_negative_balance AND m.status <> '{MerchantStatus.CLOSED}')
          AND m.updated_at < v.created_at - {TERMS_GRACE}
        UNION ALL
        SELECT w.tenant_id, format('receivable:%s', w.seller_account),
               format('owes %s %s, and no refund or dispute explains it', w.receivable, w.currency)
        FROM wallet w
        WHERE w.receivable > 0 AND NOT EXISTS (
            SELECT FROM ledger_posting p JOIN ledger_transaction t ON t.id = p.transaction_id
            JOIN reserve v ON v.id = t.source_id
            WHERE (p.tenant_id, p.currency) = (w.tenant_id, w.currency)
              AND p.account = 'receivable:' || w.seller_account AND p.amount > 0
        )
        """,
    ),
    Invariant(
        "P4",
        "a wallet's pending is its orders', its reserved is what is set aside",
        "wallet",
        """
        WITH explained AS (
            SELECT tenant_id, seller_account, currency, sum(pending) AS pending, sum(reserved) AS reserved FROM (
                SELECT tenant_id, seller_account, currency, pending_amount AS pending, 0 AS reserved
                FROM payment_order WHERE pending_amount <> 0
                UNION ALL
                SELECT tenant_id, seller_account, currency, 0, pending + available + receivable
                FROM reserve WHERE status = 'HELD'
            ) parts GROUP BY 1, 2, 3
        ), sums AS (
            SELECT tenant_id, seller_account, currency, coalesce(w.pending, 0) AS pending,
                   coalesce(w.reserved, 0) AS reserved, coalesce(e.pending, 0) AS of_orders,
                   coalesce(e.reserved, 0) AS of_reserves
            FROM wallet w FULL JOIN explained e USING (tenant_id, seller_account, currency)
        )
        SELECT tenant_id, format('wallet:%s:pending', seller_account) AS object_id,
               format('is %s %s, and its orders have %s of it', pending, currency, of_orders) AS problem
        FROM sums WHERE pending <> of_orders
        UNION ALL
        SELECT tenant_id, format('wallet:%s:reserved', seller_account),
               format('is %s %s, and %s is set aside', reserved, currency, of_reserves)
        FROM sums WHERE reserved <> of_reserves
        UNION ALL
        SELECT o.tenant_id, o.id,
               format('has %s %s in pending, and %s is posted', o.pending_amount, o.currency, x.amount)
        FROM payment_order o CROSS JOIN LATERAL (
            SELECT coalesce(-sum(p.amount), 0) AS amount
            FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
            WHERE t.payment_id = o.payment_id AND t.order_id = o.id AND p.currency = o.currency
              AND p.account = 'wallet:' || o.seller_account || ':pending'
        ) x
        WHERE o.pending_amount <> x.amount
        """,
    ),
)
