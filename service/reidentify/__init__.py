"""Re-identification under control, and erasure."""
