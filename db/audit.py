async def audit_database(database):
    return []
