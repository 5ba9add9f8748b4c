"""The part of the fan-out that makes notifications of events, for the tenants that want some told."""

NOTIFIED = """
    INSERT INTO notification (id, tenant_id, event_id, seq, type, object_id, recipient, channel, template, locale,
        content_sid, next_attempt_at)
    SELECT 'ntf_' || substr(o.id, 5, 10) || substr(md5(o.id || r.recipient || s.channel || s.template), 1, 16),
        o.tenant_id, o.id, o.seq, o.type, o.object_id, r.recipient, s.channel, s.template, coalesce(r.locale, s.locale),
        s.content_sid, now()
    FROM happened o
    JOIN notification_setting s ON s.tenant_id = o.tenant_id AND s.type = o.type AND s.enabled
    CROSS JOIN LATERAL (
        SELECT p.id AS recipient, NULL AS locale FROM payment p
        WHERE s.audience = 'buyer' AND p.id = coalesce(o.payload ->> 'payment_id', o.object_id)
        AND CASE s.channel WHEN 'email' THEN p.buyer_email ELSE p.buyer_phone END IS NOT NULL
        UNION ALL
        SELECT c.recipient, c.locale FROM notification_contact c
        WHERE c.tenant_id = o.tenant_id
        AND octet_length(CASE s.channel WHEN 'email' THEN c.email ELSE c.phone END) > 0
        AND CASE s.audience
            WHEN 'operator' THEN c.recipient = 'operator'
            WHEN 'seller' THEN c.recipient = 'seller:' || (o.payload ->> 'seller_account') OR c.recipient IN (
                SELECT 'seller:' || po.seller_account FROM payment_order po
                WHERE po.payment_id = o.payload ->> 'payment_id'
            )
        END
    ) AS r
    ON CONFLICT (event_id, recipient, channel, template) DO NOTHING
    RETURNING 1
"""
"""Of the events `happened`. Whoever has no address for the channel is not written down: there is nothing to send."""
