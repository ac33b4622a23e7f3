"""What answers in operation: worker, gateway, and what tries them."""
