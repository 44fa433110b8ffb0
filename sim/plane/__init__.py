"""What happens at token pace: one state, one `handle`, compiled."""
