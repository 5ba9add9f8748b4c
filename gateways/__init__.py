"""Payment service providers behind one protocol, and bank files."""
