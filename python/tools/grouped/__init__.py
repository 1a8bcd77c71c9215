"""grouped_mm of ragdot.torch beside torch's own."""
