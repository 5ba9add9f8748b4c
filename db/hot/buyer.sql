-- The key of a buyer, as it is stored, and whether the buyer is found by the address.
SELECT b.id, b.key, EXISTS (
    SELECT FROM person_email e
    WHERE e.tenant_id = :tenant_id AND e.person_id = b.id AND e.digest = ANY(:digests)
) AS is_found
FROM person b
WHERE b.tenant_id = :tenant_id AND b.buyer_id = :buyer_id
