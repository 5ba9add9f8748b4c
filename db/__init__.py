"""PostgreSQL: the schema, its migrations, and a package per noun of what is read and written."""
