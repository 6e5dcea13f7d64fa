"""What patients do about their own twin: consent, disputes, what they take and share."""
