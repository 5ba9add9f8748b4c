"""Disputes: what is withdrawn is claimed back while disputed, and each fee is borne at most once."""

# ruff: noqa: S608 - what is put into the queries are constants of the code

from db.audit.invariant import RESERVED, RESERVES_POSTED, VERDICT_GRACE, Invariant, sql_list
from domain.status import DISPUTE_ENDED, DisputeStatus

_ENDED_DISPUTES = sql_list(sorted(DISPUTE_ENDED))

DISPUTES = (
    Invariant(
        "P7",
        "what is withdrawn is claimed back while disputed, and not after",
        "dispute",
        f"""
        WITH claimed AS (
            SELECT t.tenant_id, t.payment_id, p.currency, sum(p.amount) AS amount
            FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
            WHERE p.account = 'disputes_held' GROUP BY 1, 2, 3
        ), disputed AS (
            SELECT tenant_id, payment_id, currency,
                   coalesce(sum(amount) FILTER (WHERE withdrawn AND status NOT IN ({_ENDED_DISPUTES})), 0) AS amount,
                   bool_or(status IN ({_ENDED_DISPUTES}) AND closed_at > now() - {VERDICT_GRACE}) AS just_decided
            FROM dispute GROUP BY 1, 2, 3
        )
        SELECT tenant_id, payment_id AS object_id,
               format('disputes_held has %s %s of it, and %s is withdrawn and not decided', coalesce(c.amount, 0),
                      currency, coalesce(d.amount, 0)) AS problem
        FROM claimed c FULL JOIN disputed d USING (tenant_id, payment_id, currency)
        WHERE coalesce(c.amount, 0) <> coalesce(d.amount, 0) AND d.just_decided IS NOT TRUE
        UNION ALL
        SELECT v.tenant_id, v.source_id, format('%s, and order %s bears %s of %s %s', v.source_status, v.order_id,
                                                coalesce(p.lost, 0), v.amount, v.currency)
        FROM ({RESERVED}) v LEFT JOIN ({RESERVES_POSTED}) p USING (id)
        WHERE v.origin = 'dispute' AND coalesce(p.lost, 0) <> CASE WHEN v.status = 'TAKEN' THEN v.amount ELSE 0 END
        UNION ALL
        -- Ours is only what no order bears.
        SELECT d.tenant_id, d.id, format('%s, and we bear %s of %s %s', d.status, coalesce(ours.amount, 0), d.amount,
                                         d.currency)
        FROM dispute d
        LEFT JOIN LATERAL (SELECT sum(p.amount) AS amount FROM ledger_transaction t
                           JOIN ledger_posting p ON p.transaction_id = t.id
                           WHERE t.source_id = d.id AND t.kind IN ('dispute_loss', 'dispute_loss_reversal')
                             AND p.account = 'dispute_losses' AND p.currency = d.currency) ours ON true
        LEFT JOIN LATERAL (SELECT sum(amount) AS amount FROM reserve WHERE source_id = d.id) theirs ON true
        WHERE coalesce(ours.amount, 0) <> CASE WHEN d.status = '{DisputeStatus.LOST}'
                                               THEN d.amount - coalesce(theirs.amount, 0) ELSE 0 END
        """,
    ),
    Invariant(
        "P8",
        "each dispute's fee is booked, and borne at most once",
        "dispute",
        f"""
        WITH booked AS (
            SELECT t.tenant_id, t.payment_id, p.currency, sum(p.amount) AS fee
            FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
            WHERE t.kind = 'dispute_fee' AND p.account = 'psp_fees' GROUP BY 1, 2, 3
        ), noted AS (
            SELECT tenant_id, payment_id, currency, sum(fee) AS fee FROM dispute GROUP BY 1, 2, 3
        )
        SELECT tenant_id, payment_id AS object_id,
               format('the PSP kept %s %s for its disputes, and %s is booked', coalesce(n.fee, 0), currency,
                      coalesce(b.fee, 0)) AS problem
        FROM booked b FULL JOIN noted n USING (tenant_id, payment_id, currency)
        WHERE coalesce(b.fee, 0) <> coalesce(n.fee, 0)
        UNION ALL
        SELECT d.tenant_id, d.id, format('cost a fee of %s %s, and its sellers bear %s', d.fee, d.currency,
                                         sum(p.fee_borne))
        FROM dispute d JOIN reserve v ON v.source_id = d.id JOIN ({RESERVES_POSTED}) p ON p.id = v.id
        GROUP BY d.id HAVING sum(p.fee_borne) > greatest(d.fee, 0) OR sum(p.fee_borne) < 0
        UNION ALL
        -- The PSP names each movement: the same one has the same source, whatever it is booked as.
        SELECT min(tenant_id), source_id,
               format('is booked %s times as a movement of money: %s', count(*), string_agg(kind, ', ' ORDER BY seq))
        FROM ledger_transaction WHERE kind IN ('dispute_withdrawn', 'dispute_reinstated', 'capture', 'psp_fee')
        GROUP BY source_id HAVING count(*) > 1
        UNION ALL
        SELECT t.tenant_id, t.id, format('%s of %s is no movement that the PSP named', t.kind, t.source_id)
        FROM ledger_transaction t LEFT JOIN payment p ON p.id = t.payment_id
        WHERE t.kind IN ('dispute_withdrawn', 'dispute_reinstated', 'dispute_fee')
          AND (t.source_id LIKE p.psp || ':_%') IS NOT TRUE
        """,
    ),
)
