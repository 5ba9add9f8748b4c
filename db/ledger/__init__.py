"""The books: postings, wallets, reserves, statements, and the seal."""
