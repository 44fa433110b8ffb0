"""Many runs of one scenario, compared."""
