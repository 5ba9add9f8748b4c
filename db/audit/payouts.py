"""Money on its way out: what is released, what payouts take, and what the books say of each."""

# ruff: noqa: S608 - what is put into the queries are constants of the code

from db.audit.invariant import RELEASE_MAX, STEP_MAX, Invariant, minded, sql_list
from domain.ledger import Kind
from domain.status import PAYOUT_ENDED, PAYOUT_GIVEN_BACK, PayoutStatus, Status

_GIVEN_BACK = sql_list(sorted(PAYOUT_GIVEN_BACK))
_ENDED = sql_list(sorted(PAYOUT_ENDED))

_LEAVES = (Kind.PAYOUT, Kind.PAYOUT_REVERSAL)
_TRANSFERS = (Kind.PAYOUT_TRANSFER, Kind.PAYOUT_TRANSFER_REVERSAL)
_PAYS = (Kind.PAYOUT_PAID, Kind.PAYOUT_PAID_REVERSAL, Kind.PAYOUT_SETTLED)
_KINDS = sql_list((*_LEAVES, *_TRANSFERS, *_PAYS))

# The postings that a payout can take: what it takes out of the balance itself, and what comes back of it, is none.
_PAYABLE = f"""
    SELECT p.seq, p.tenant_id, split_part(p.account, ':', 2) AS seller_account, p.currency, -p.amount AS amount
    FROM ledger_posting p JOIN ledger_transaction t ON t.id = p.transaction_id
    WHERE p.account LIKE 'wallet:%:available' AND t.kind NOT IN ({sql_list(_LEAVES)})
"""
_LIVE = "SELECT posting_seq AS seq, sum(amount) AS taken FROM payout_item WHERE NOT released GROUP BY posting_seq"

# What a payout's own transactions say, each as the sum of the fact and of its reversal: `left_wallet`, `transferred`
# to the seller's account at the PSP, `paid` to the seller's bank; `foreign_lines` are on no account of the payout's.
_BOOKED = f"""
    SELECT y.id, coalesce(sum(l.amount) FILTER (WHERE l.role = 'wallet'), 0) AS left_wallet,
           coalesce(-sum(l.amount) FILTER (WHERE l.role = 'clearing'), 0) AS transferred,
           coalesce(-sum(l.amount) FILTER (WHERE l.role = 'paid'), 0) AS paid,
           count(*) FILTER (WHERE l.role = 'foreign') AS foreign_lines
    FROM payout y LEFT JOIN LATERAL (
        SELECT p.amount,
               CASE WHEN p.currency <> y.currency OR p.tenant_id <> y.tenant_id THEN 'foreign'
                    WHEN t.kind IN ({sql_list(_LEAVES)}) AND p.account = 'wallet:' || y.seller_account || ':available'
                        THEN 'wallet'
                    WHEN t.kind IN ({sql_list(_LEAVES)}) AND p.account = 'payout_in_transit' THEN 'in transit'
                    WHEN t.kind IN ({sql_list(_TRANSFERS)}) AND p.account = 'psp_clearing:' || y.psp THEN 'clearing'
                    WHEN t.kind IN ({sql_list(_TRANSFERS)}) AND p.account = 'payout_float' THEN 'float'
                    WHEN t.kind IN ({sql_list(_PAYS)}) AND p.account = 'payout_float' THEN 'paid'
                    WHEN t.kind IN ({sql_list(_PAYS)}) AND p.account = 'payout_in_transit' THEN 'arrived'
                    ELSE 'foreign' END AS role
        FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
        WHERE t.source_id = y.id AND t.kind IN ({_KINDS})
    ) l ON true
    GROUP BY y.id
"""

# What they should say, by the payout's status. One that needs attention has been transferred if the PSP named it so.
_DUE = f"""
    SELECT y.*, b.left_wallet, b.transferred, b.paid, b.foreign_lines,
           CASE WHEN y.status IN ({_GIVEN_BACK}) THEN 0 ELSE y.amount END AS due_left,
           CASE WHEN y.status IN ({
    sql_list((PayoutStatus.TRANSFERRED, PayoutStatus.IN_TRANSIT, PayoutStatus.PAID, PayoutStatus.RETURNING))
})
                  OR (y.status = '{PayoutStatus.NEEDS_ATTENTION}' AND y.transfer_reference IS NOT NULL)
                THEN y.amount ELSE 0 END AS due_transferred,
           CASE WHEN y.status = '{PayoutStatus.PAID}' THEN y.amount ELSE 0 END AS due_paid
    FROM payout y JOIN ({_BOOKED}) b USING (id)
"""

PAYOUTS_STUCK = f"""
    SELECT tenant_id, id,
           format('payout %s of %s, and should have been looked at by %s', status, seller_account,
                  coalesce(next_check_at, updated_at))
    FROM payout y
    WHERE status NOT IN ({_ENDED}, '{PayoutStatus.NEEDS_ATTENTION}')
      AND coalesce(next_check_at, updated_at) < now() - {STEP_MAX} AND NOT {minded("y.id")}
    UNION ALL
    SELECT tenant_id, id, format('payout %s since %s, and no task is open', status, updated_at)
    FROM payout y WHERE status = '{PayoutStatus.NEEDS_ATTENTION}' AND NOT {minded("y.id")}
"""
"""A part of I8."""

PAYOUTS = (
    Invariant(
        "I15",
        "payouts take a posting at most once, and are the sum of what they take",
        "payout_item",
        f"""
        SELECT p.tenant_id, p.transaction_id AS object_id,
               format('posting %s of %s %s, and payouts take %s of it', p.seq, -p.amount, p.currency, i.taken)
                   AS problem
        FROM ({_LIVE}) i JOIN ledger_posting p USING (seq)
        WHERE i.taken NOT BETWEEN least(-p.amount, 0) AND greatest(-p.amount, 0)
        UNION ALL
        SELECT y.tenant_id, y.id,
               format('is %s of %s %s, and its items are %s, %s of them given back', y.status, y.amount, y.currency,
                      coalesce(i.amount, 0), coalesce(i.released, 0))
        FROM payout y LEFT JOIN (
            SELECT payout_id, sum(amount) AS amount, count(*) AS n, count(*) FILTER (WHERE released) AS released
            FROM payout_item GROUP BY payout_id
        ) i ON i.payout_id = y.id
        WHERE y.amount <> coalesce(i.amount, 0)
           OR i.released <> CASE WHEN y.status IN ({_GIVEN_BACK}) THEN i.n ELSE 0 END
        UNION ALL
        SELECT y.tenant_id, y.id,
               format('takes posting %s (%s of %s to %s in %s), which is none that it can pay', i.posting_seq,
                      coalesce(t.kind, 'nothing'), t.source_id, coalesce(p.account, 'nothing'), p.currency)
        FROM payout_item i JOIN payout y ON y.id = i.payout_id
        LEFT JOIN ledger_posting p ON p.seq = i.posting_seq LEFT JOIN ledger_transaction t ON t.id = p.transaction_id
        WHERE (p.tenant_id, i.tenant_id, p.account, p.currency)
              IS DISTINCT FROM (y.tenant_id, y.tenant_id, 'wallet:' || y.seller_account || ':available', y.currency)
           OR t.kind IN ({sql_list(_LEAVES)})
        UNION ALL
        SELECT i.tenant_id, i.payout_id, format('takes posting %s, and is no payout', i.posting_seq)
        FROM payout_item i WHERE NOT EXISTS (SELECT FROM payout y WHERE y.id = i.payout_id)
        """,
    ),
    Invariant(
        "P11",
        "what no payout has taken of a wallet is what is available",
        "wallet",
        f"""
        WITH open AS (
            SELECT p.*, coalesce(i.taken, 0) AS taken FROM ({_PAYABLE}) p LEFT JOIN ({_LIVE}) i USING (seq)
        ), sums AS (
            SELECT tenant_id, seller_account, currency, sum(amount) AS posted, sum(taken) AS taken
            FROM open GROUP BY 1, 2, 3
        )
        SELECT tenant_id, format('wallet:%s:available', seller_account) AS object_id,
               format('is %s %s; %s could be paid out, and payouts have taken %s of it', coalesce(w.available, 0),
                      currency, coalesce(s.posted, 0), coalesce(s.taken, 0)) AS problem
        FROM wallet w FULL JOIN sums s USING (tenant_id, seller_account, currency)
        WHERE coalesce(w.available, 0) <> coalesce(s.posted, 0) - coalesce(s.taken, 0)
        UNION ALL
        SELECT o.tenant_id, format('wallet:%s:available', o.seller_account),
               format('pays from posting %s on, and of posting %s %s %s are left to be paid', w.payable_from, o.seq,
                      o.amount - o.taken, o.currency)
        FROM open o JOIN wallet w USING (tenant_id, seller_account, currency)
        WHERE o.seq < w.payable_from AND o.amount <> o.taken
        """,
    ),
    Invariant(
        "P12",
        "a payout's status is what the books say of it",
        "payout",
        f"""
        WITH due AS ({_DUE})
        SELECT tenant_id, id AS object_id,
               format('is %s of %s %s: %s have left the wallet, %s were transferred, %s paid', status, amount, currency,
                      left_wallet, transferred, paid) AS problem
        FROM due WHERE (left_wallet, transferred, paid) <> (due_left, due_transferred, due_paid)
        UNION ALL
        SELECT tenant_id, id, format('%s line(s) of it are on an account that is not its own', foreign_lines)
        FROM due WHERE foreign_lines > 0
        UNION ALL
        SELECT y.tenant_id, y.id, format('is %s, and %s is left with %s %s of it', y.status, p.account, sum(p.amount),
                                         p.currency)
        FROM payout y JOIN ledger_transaction t ON t.source_id = y.id AND t.kind IN ({_KINDS})
        JOIN ledger_posting p ON p.transaction_id = t.id
        WHERE y.status IN ({_GIVEN_BACK})
        GROUP BY y.id, p.account, p.currency HAVING sum(p.amount) <> 0
        UNION ALL
        SELECT t.tenant_id, t.id, format('%s is booked for %s, which is no payout', t.kind, t.source_id)
        FROM ledger_transaction t
        WHERE t.kind IN ({_KINDS}, '{Kind.DEBT_RECOVERY}')
          AND NOT EXISTS (SELECT FROM payout y WHERE y.id = t.source_id AND y.tenant_id = t.tenant_id)
        UNION ALL
        SELECT y.tenant_id, y.id, format('kept %s %s back on %s for what the seller owes', p.amount, p.currency,
                                         p.account)
        FROM payout y JOIN ledger_transaction t ON t.source_id = y.id AND t.kind = '{Kind.DEBT_RECOVERY}'
        JOIN ledger_posting p ON p.transaction_id = t.id
        WHERE (p.account, p.currency, sign(p.amount)) NOT IN (
                  ('wallet:' || y.seller_account || ':available', y.currency, 1),
                  ('receivable:' || y.seller_account, y.currency, -1))
        UNION ALL
        -- What a person corrected is no payout's.
        SELECT tenant_id, account, format('holds %s %s, and the payouts under way explain %s', coalesce(b.amount, 0),
                                          currency, coalesce(e.amount, 0))
        FROM (
            SELECT p.tenant_id, p.account, p.currency, sum(p.amount) AS amount
            FROM ledger_posting p JOIN ledger_transaction t ON t.id = p.transaction_id
            WHERE p.account IN ('payout_in_transit', 'payout_float') AND t.kind <> '{Kind.ADJUSTMENT}'
            GROUP BY 1, 2, 3
        ) b FULL JOIN (
            SELECT due.tenant_id, v.account, due.currency, sum(v.amount) AS amount
            FROM due CROSS JOIN LATERAL (VALUES ('payout_in_transit', due_paid - due_left),
                                                ('payout_float', due_transferred - due_paid)) AS v(account, amount)
            GROUP BY 1, 2, 3
        ) e USING (tenant_id, account, currency)
        WHERE coalesce(b.amount, 0) <> coalesce(e.amount, 0)
        """,
    ),
    Invariant(
        "P13",
        "what is pending becomes available in its time, and once",
        "payment_order",
        f"""
        SELECT t.tenant_id, t.id AS object_id,
               format('release of %s: is no release of an order of its own', t.source_id) AS problem
        FROM ledger_transaction t
        LEFT JOIN payment_order o ON (o.id, o.payment_id, o.tenant_id) = (t.order_id, t.payment_id, t.tenant_id)
        WHERE t.kind = '{Kind.RELEASE}' AND (o.id IS DISTINCT FROM t.source_id OR EXISTS (
            SELECT FROM ledger_posting p WHERE p.transaction_id = t.id
               AND (p.account, p.currency, sign(p.amount)) NOT IN (
                   ('wallet:' || o.seller_account || ':pending', o.currency, 1),
                   ('wallet:' || o.seller_account || ':available', o.currency, -1))))
        UNION ALL
        SELECT o.tenant_id, o.id, format('was released in %s, and is not marked so', t.id)
        FROM payment_order o JOIN ledger_transaction t ON t.source_id = o.id AND t.kind = '{Kind.RELEASE}'
        WHERE o.released_at IS NULL
        UNION ALL
        SELECT o.tenant_id, o.id, format('is marked as released at %s, and no release is booked', o.released_at)
        FROM payment_order o
        WHERE o.released_at IS NOT NULL
          AND NOT EXISTS (SELECT FROM ledger_transaction t WHERE t.source_id = o.id AND t.kind = '{Kind.RELEASE}')
        UNION ALL
        SELECT tenant_id, id, format('was released, and %s %s of it are pending', pending_amount, currency)
        FROM payment_order WHERE released_at IS NOT NULL AND pending_amount <> 0
        UNION ALL
        SELECT tenant_id, id, format('%s %s of it are pending, and should be available since %s', pending_amount,
                                     currency, coalesce(available_at::text, 'nobody knows when'))
        FROM payment_order
        WHERE status = '{Status.SUCCESS}' AND pending_amount > 0
          AND (available_at IS NULL OR available_at < now() - {RELEASE_MAX})
        """,
    ),
)
