"""What runs where: authority, deployment, pre-production, monitoring."""
