-- A payment with its orders, by position, and its latest charge attempt, as one document.
SELECT p.sealed_action,
       (to_jsonb(p) - '{token,buyer_email,buyer_phone,card_fingerprint,sealed_action}'::text[]
        || jsonb_build_object(
            'sealed_action', NULL,
            'orders', (SELECT jsonb_agg(to_jsonb(o) ORDER BY o.position) FROM payment_order o WHERE o.payment_id = p.id),
            'charge', (SELECT to_jsonb(c) FROM charge c WHERE c.payment_id = p.id ORDER BY c.attempt DESC LIMIT 1)
        ))::text AS document
FROM payment p
WHERE p.id = :payment_id
