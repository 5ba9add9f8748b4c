-- The refunds of an order in sums: set aside, with the buyer, and what of the platform's fee goes back with them; whether
-- it does by the seller's terms; and what is set aside for one of them, which may not be stored yet.
SELECT m.platform_fee_on_refund AS fee_terms,
       coalesce(sum(s.amount) FILTER (WHERE s.status = 'HELD'), 0)::bigint AS held,
       coalesce(sum(s.amount) FILTER (WHERE s.status = 'TAKEN'), 0)::bigint AS taken,
       coalesce(sum(s.platform_fee) FILTER (WHERE s.status <> 'RELEASED'), 0)::bigint AS fee_returned,
       (jsonb_agg(to_jsonb(s)) FILTER (WHERE s.source_id = :refund_id::text AND s.status = 'HELD') -> 0)::text AS reserve
FROM payment_order o
JOIN merchant m ON m.tenant_id = o.tenant_id AND m.seller_account = o.seller_account
LEFT JOIN (reserve s JOIN refund r ON r.id = s.source_id) ON s.payment_id = o.payment_id AND s.order_id = o.id
WHERE o.id = :order_id
GROUP BY m.platform_fee_on_refund
