"""Reconciliation: what its runs, their lines and items, the discrepancies and the corrections promise each other."""

# ruff: noqa: S608 - what is put into the queries are constants of the code

from db.audit.invariant import EVENTS_SINCE, STEP_MAX, Invariant, sql_list
from domain.ledger import BANK, Kind
from domain.reconciliation.reconciliation import (
    BOOKING_FIXES,
    TASK_KIND,
    Decision,
    DiscrepancyStatus,
    Fix,
    LineClass,
    RunStatus,
    Source,
    Subject,
)
from domain.status import RefundStatus

_ENDED = sql_list((RunStatus.COMPLETED, RunStatus.FAILED))
_CORRECTIONS = sql_list((Kind.ADJUSTMENT, Kind.SUSPENSE))
_CORRECTING = sql_list((Decision.ADJUST, Decision.TO_SUSPENSE))
_RESOLUTIONS = sql_list((Decision.ADJUST, Decision.TO_SUSPENSE, Decision.ACCEPT))
_FIXED_BY = sql_list((*Fix, "matched"))
_BOOKING = sql_list(sorted(BOOKING_FIXES))
_FIXED_AS = sql_list((Kind.PSP_FEE, Kind.BANK_PAYOUT, Kind.BANK_PAYOUT_REVERSAL))

# How often each fact about an object was told to the outside.
_TOLD = """
    SELECT object_id, count(*) FILTER (WHERE type = 'discrepancy.opened') AS opened,
           count(*) FILTER (WHERE type = 'discrepancy.resolved') AS resolved,
           count(*) FILTER (WHERE type = 'reconciliation.completed') AS completed
    FROM outbox WHERE type IN ('discrepancy.opened', 'discrepancy.resolved', 'reconciliation.completed') GROUP BY 1
"""

# The net of what the PSP listed of each payment, each line once, however many runs have seen it.
_SEEN = f"""
    SELECT c.tenant_id, c.payment_id, c.psp, l.currency, sum(l.net) AS amount
    FROM (SELECT DISTINCT ON (r.psp, l.reference) r.psp, l.charge_reference, l.currency, l.amount - l.fee AS net
          FROM reconciliation_line l JOIN reconciliation_run r ON r.id = l.run_id
          WHERE r.matched_at IS NOT NULL AND r.subject = '{Subject.PSP}' AND l.charge_reference IS NOT NULL
          ORDER BY r.psp, l.reference, l.run_id DESC) l
    JOIN charge c ON c.psp = l.psp AND c.reference = l.charge_reference GROUP BY 1, 2, 3, 4
"""

# What is booked of each payment, with what people have booked by deciding about its discrepancies.
_BOOKED = """
    SELECT m.payment_id, p.account, p.currency, sum(p.amount) AS amount
    FROM (SELECT payment_id, id FROM ledger_transaction WHERE payment_id IS NOT NULL
          UNION SELECT payment_id, ledger_transaction_id FROM discrepancy
          WHERE payment_id IS NOT NULL AND status = 'RESOLVED') m
    JOIN ledger_posting p ON p.transaction_id = m.id WHERE p.account LIKE 'psp_clearing:%' GROUP BY 1, 2, 3
"""

RECONCILIATION = (
    Invariant(
        "R1",
        "a run of the reconciliation ends once, and says how",
        "reconciliation_run",
        f"""
        SELECT tenant_id, id AS object_id,
               CASE WHEN completed_at IS NULL THEN format('is %s, and has no end', status)
                    ELSE format('is %s, and ended at %s', status, completed_at) END AS problem
        FROM reconciliation_run WHERE (status IN ({_ENDED})) <> (completed_at IS NOT NULL)
        UNION ALL
        SELECT tenant_id, id, format('is %s, and its failure is %s', status, coalesce(failure, 'not said'))
        FROM reconciliation_run WHERE (status = '{RunStatus.FAILED}') <> (failure IS NOT NULL)
        UNION ALL
        SELECT tenant_id, id, format('is %s: all lines were here at %s, and matched at %s', status,
                                     coalesce(staged_at::text, 'no time'), coalesce(matched_at::text, 'no time'))
        FROM reconciliation_run
        WHERE status = '{RunStatus.COMPLETED}' AND (staged_at IS NULL OR matched_at IS NULL)
           OR status = '{RunStatus.STAGING}' AND (staged_at IS NOT NULL OR matched_at IS NOT NULL)
           OR matched_at IS NOT NULL AND (staged_at IS NULL OR counts IS NULL)
        """,
    ),
    Invariant(
        "R2",
        "a run's numbers are those of its lines, items and discrepancies",
        "reconciliation_run",
        f"""
        SELECT r.tenant_id, r.id AS object_id,
               format('counts %s line(s), and has %s up to the number %s', r.lines, l.lines, l.last) AS problem
        FROM reconciliation_run r CROSS JOIN LATERAL (
            SELECT count(*) AS lines, coalesce(max(line_no), 0) AS last
            FROM reconciliation_line x WHERE x.run_id = r.id) l
        WHERE (r.lines, r.lines) <> (l.lines, l.last)
        UNION ALL
        SELECT r.tenant_id, r.id, format('counts %s %s, and has %s item(s) of it', n.count, n.class, n.items)
        FROM reconciliation_run r CROSS JOIN LATERAL (
            SELECT class, coalesce(counted.count, 0) AS count, coalesce(item.items, 0) AS items
            FROM (SELECT key AS class, value::bigint AS count FROM jsonb_each_text(r.counts)) counted
            FULL JOIN (SELECT class, count(*) AS items FROM reconciliation_item WHERE run_id = r.id GROUP BY 1) item
            USING (class)) n
        WHERE r.matched_at IS NOT NULL
          -- What our own reference matches plainly is no item.
          AND CASE n.class WHEN '{LineClass.MATCHED}' THEN n.count < n.items ELSE n.count <> n.items END
        UNION ALL
        SELECT r.tenant_id, r.id, format('counts %s discrepancies that it opened, and %s name it', r.opened, d.opened)
        FROM reconciliation_run r CROSS JOIN LATERAL (
            SELECT count(*) AS opened FROM discrepancy x WHERE x.first_run_id = r.id) d
        WHERE r.opened <> d.opened
        """,
    ),
    Invariant(
        "R3",
        "a line is matched once within a run",
        "reconciliation_item",
        f"""
        SELECT min(tenant_id) AS tenant_id, run_id AS object_id,
               format('line %s is %s things of the kind %s: %s', line_no, count(*), kind,
                      string_agg(class, ', ' ORDER BY seq)) AS problem
        FROM reconciliation_item WHERE line_no IS NOT NULL
        GROUP BY run_id, line_no, kind, class = '{LineClass.FEE}' HAVING count(*) > 1
        UNION ALL
        SELECT i.tenant_id, i.run_id, format('item %s is of line %s, which the run does not have', i.seq, i.line_no)
        FROM reconciliation_item i
        WHERE i.line_no IS NOT NULL
          AND NOT EXISTS (SELECT FROM reconciliation_line l WHERE l.run_id = i.run_id AND l.line_no = i.line_no)
        """,
    ),
    Invariant(
        "R4",
        "a break is one discrepancy, with its evidence",
        "discrepancy",
        f"""
        SELECT min(tenant_id) AS tenant_id, string_agg(id, ', ' ORDER BY id) AS object_id,
               format('%s of %s is open %s times', fingerprint, psp, count(*)) AS problem
        FROM discrepancy WHERE status = '{DiscrepancyStatus.OPEN}'
        GROUP BY psp, subject, fingerprint HAVING count(*) > 1
        UNION ALL
        SELECT d.tenant_id, d.id, format('its evidence is line %s of %s, which says %s, and it says %s', d.line_no,
                                         d.line_run_id, coalesce(l.reference, 'nothing'), d.line_reference)
        FROM discrepancy d
        LEFT JOIN reconciliation_line l ON l.run_id = d.line_run_id AND l.line_no = d.line_no
        WHERE d.line_no IS NOT NULL AND l.reference IS DISTINCT FROM d.line_reference
        UNION ALL
        SELECT d.tenant_id, d.id, format('is of %s/%s, and %s of %s/%s found it', d.psp, d.subject, r.id, r.psp,
                                         r.subject)
        FROM discrepancy d
        JOIN reconciliation_run r ON r.id IN (d.first_run_id, d.last_run_id)
        WHERE (r.psp, r.subject) <> (d.psp, d.subject)
        """,
    ),
    Invariant(
        "R5",
        "a discrepancy that is closed says how and by whom",
        "discrepancy",
        f"""
        SELECT tenant_id, id AS object_id, format('is OPEN, and was %s by %s', coalesce(resolution, 'ended'),
                                                  coalesce(resolved_by, 'nobody')) AS problem
        FROM discrepancy
        WHERE status = '{DiscrepancyStatus.OPEN}'
          AND num_nonnulls(resolution, resolved_by, resolved_at, ledger_transaction_id) > 0
        UNION ALL
        SELECT tenant_id, id, format('is %s by %s at %s: %s', status, coalesce(resolved_by, 'nobody'),
                                     coalesce(resolved_at::text, 'no time'), coalesce(resolution, 'nobody knows how'))
        FROM discrepancy
        WHERE status <> '{DiscrepancyStatus.OPEN}'
          AND (coalesce(resolved_by, '') = '' OR resolved_at IS NULL OR coalesce(resolution, '') NOT IN (
                  SELECT unnest(CASE status WHEN '{DiscrepancyStatus.RESOLVED}' THEN ARRAY[{_RESOLUTIONS}]
                                            ELSE ARRAY[{_FIXED_BY}] END)))
        UNION ALL
        SELECT tenant_id, id, format('was accepted by %s, and no note says why', resolved_by)
        FROM discrepancy WHERE resolution = '{Decision.ACCEPT}' AND coalesce(trim(note), '') = ''
        UNION ALL
        SELECT d.tenant_id, d.id, format('is resolved by %s, and the audit log does not know it', d.resolved_by)
        FROM discrepancy d
        WHERE d.status = '{DiscrepancyStatus.RESOLVED}'
          AND NOT EXISTS (SELECT FROM audit_log a WHERE a.object_id = d.id AND a.action = 'discrepancy.resolve'
                                                    AND a.actor = d.resolved_by)
        """,
    ),
    Invariant(
        "R6",
        "what a discrepancy books is in the ledger once, and is its difference",
        "discrepancy",
        f"""
        SELECT d.tenant_id, d.id AS object_id, format('is %s: %s, and is booked as %s', d.status, d.resolution,
                                                      coalesce(t.kind || ' ' || t.source_id, 'nothing')) AS problem
        FROM discrepancy d LEFT JOIN ledger_transaction t ON t.id = d.ledger_transaction_id
        WHERE d.status <> '{DiscrepancyStatus.OPEN}' AND NOT CASE
            WHEN d.resolution IN ({_CORRECTING})
                THEN t.id IS NOT NULL AND t.source_id = d.id AND t.tenant_id = d.tenant_id AND t.kind =
                     CASE d.resolution WHEN '{Decision.ADJUST}' THEN '{Kind.ADJUSTMENT}' ELSE '{Kind.SUSPENSE}' END
            -- A workflow that was asked earlier may have booked it.
            WHEN d.resolution IN ({_BOOKING})
                THEN t.id IS NULL AND d.fix_asked_at IS NOT NULL
                  OR t.id IS NOT NULL AND t.kind IN ({_FIXED_AS}) AND starts_with(t.source_id, d.psp || ':')
            ELSE t.id IS NULL END
        UNION ALL
        SELECT t.tenant_id, t.source_id, format('%s %s is booked for it, and it is %s', t.kind, t.id,
                                                coalesce(d.status || ', ' || d.resolution, 'no discrepancy'))
        FROM ledger_transaction t LEFT JOIN discrepancy d ON d.id = t.source_id
        WHERE t.kind IN ({_CORRECTIONS}) AND t.source_id LIKE 'disc\\_%'
          AND d.ledger_transaction_id IS DISTINCT FROM t.id
        UNION ALL
        SELECT d.tenant_id, d.id, format('differs by %s, and %s is booked', d.differences, coalesce(b.booked, '{{}}'))
        FROM discrepancy d CROSS JOIN LATERAL (
            SELECT jsonb_object_agg(currency, amount) AS booked FROM (
                SELECT p.currency, sum(p.amount) AS amount FROM ledger_posting p
                WHERE p.transaction_id = d.ledger_transaction_id
                  AND p.account = CASE d.subject WHEN '{Subject.BANK}' THEN '{BANK}' ELSE 'psp_clearing:' || d.psp END
                GROUP BY 1) s) b
        WHERE d.status = '{DiscrepancyStatus.RESOLVED}' AND d.resolution IN ({_CORRECTING})
          AND b.booked IS DISTINCT FROM d.differences
        """,
    ),
    Invariant(
        "R7",
        "what is open past its deadline is somebody's to see to",
        "discrepancy",
        f"""
        SELECT tenant_id, id AS object_id, format('should be settled since %s, and no task is open', due_at) AS problem
        FROM discrepancy d
        WHERE status = '{DiscrepancyStatus.OPEN}' AND greatest(due_at, updated_at) < now() - {STEP_MAX}
          AND NOT EXISTS (SELECT FROM operator_task k WHERE k.object_id = d.id AND k.kind = '{TASK_KIND}'
                                                        AND k.closed_at IS NULL)
        UNION ALL
        SELECT d.tenant_id, d.id, format('is %s, and %s still asks about it', d.status, k.id)
        FROM discrepancy d JOIN operator_task k ON k.object_id = d.id AND k.closed_at IS NULL
        WHERE d.status <> '{DiscrepancyStatus.OPEN}'
        """,
    ),
    Invariant(
        "R8",
        "what becomes of a run or a break is told once",
        "discrepancy",
        f"""
        WITH told AS ({_TOLD})
        SELECT d.tenant_id, d.id AS object_id,
               format('is %s, with %s event(s) discrepancy.opened and %s discrepancy.resolved', d.status,
                      coalesce(t.opened, 0), coalesce(t.resolved, 0)) AS problem
        FROM discrepancy d LEFT JOIN told t ON t.object_id = d.id
        WHERE d.opened_at >= {EVENTS_SINCE} AND (coalesce(t.opened, 0), coalesce(t.resolved, 0)) <>
              (1, CASE d.status WHEN '{DiscrepancyStatus.OPEN}' THEN 0 ELSE 1 END)
        UNION ALL
        SELECT r.tenant_id, r.id,
               format('is %s, with %s event(s) reconciliation.completed', r.status, coalesce(t.completed, 0))
        FROM reconciliation_run r LEFT JOIN told t ON t.object_id = r.id
        WHERE r.created_at >= {EVENTS_SINCE}
          AND coalesce(t.completed, 0) <> CASE r.status WHEN '{RunStatus.COMPLETED}' THEN 1 ELSE 0 END
        """,
    ),
    Invariant(
        "R9",
        "what the PSP holds for us by the ledger is what reconciliation has seen",
        "discrepancy",
        f"""
        SELECT d.tenant_id, d.id AS object_id,
               format('was corrected for %s, which is booked as the refund %s', d.line_reference, r.id) AS problem
        FROM discrepancy d
        JOIN reconciliation_line l ON l.run_id = d.line_run_id AND l.line_no = d.line_no
        JOIN refund r ON r.payment_id = d.payment_id AND r.reference = l.source_reference
                     AND r.id IS DISTINCT FROM d.object_id AND r.status = '{RefundStatus.SUCCEEDED}'
        WHERE d.kind = 'refund' AND d.resolution IN ({_CORRECTING})
          AND NOT EXISTS (SELECT FROM discrepancy other
                          WHERE other.fingerprint = 'refund:' || r.id AND other.resolution IN ({_CORRECTING}))
        UNION ALL
        -- Of payments that runs have covered as a whole, and about which nothing is open or was accepted as it is.
        SELECT s.tenant_id, s.payment_id, format('the PSP lists %s %s of it, and %s is booked', s.amount, s.currency,
                                                 coalesce(b.amount, 0))
        FROM ({_SEEN}) s
        LEFT JOIN ({_BOOKED}) b ON (b.payment_id, b.account, b.currency)
                                 = (s.payment_id, 'psp_clearing:' || s.psp, s.currency)
        WHERE s.amount <> coalesce(b.amount, 0)
          AND NOT EXISTS (SELECT FROM discrepancy d
                          WHERE d.payment_id = s.payment_id
                            AND (d.status = '{DiscrepancyStatus.OPEN}' OR d.resolution = '{Decision.ACCEPT}'))
          AND NOT EXISTS (SELECT FROM reconciliation_item i WHERE i.payment_id = s.payment_id AND i.how = 'guess')
          AND NOT EXISTS (
              SELECT FROM ledger_transaction t
              WHERE t.payment_id = s.payment_id
                AND EXISTS (SELECT FROM ledger_posting p
                            WHERE p.transaction_id = t.id AND p.account = 'psp_clearing:' || s.psp)
                AND NOT EXISTS (SELECT FROM reconciliation_run r
                                WHERE r.psp = s.psp AND r.subject = '{Subject.PSP}' AND r.source = '{Source.API}'
                                  AND t.at >= r.window_from AND t.at < r.window_to
                                  AND r.matched_at > t.at + {STEP_MAX}))
        """,
    ),
)
