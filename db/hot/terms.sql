-- The terms of sellers that are active, and whether their tenant has risk rules.
SELECT jsonb_object_agg(m.seller_account, jsonb_build_object(
           'fee_percent', m.fee_percent::text, 'fee_fixed', m.fee_fixed::text,
           'psp_fee_payer', m.psp_fee_payer, 'payout_delay_days', m.payout_delay_days,
           'platform_fee_on_refund', m.platform_fee_on_refund
       ))::text AS sellers,
       EXISTS (SELECT FROM risk_rule_set r WHERE r.tenant_id = :tenant_id) AS has_rules
FROM merchant m
WHERE m.tenant_id = :tenant_id AND m.seller_account = ANY(:sellers) AND m.status = 'ACTIVE'
