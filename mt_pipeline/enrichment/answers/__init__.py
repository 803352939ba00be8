"""The answers of paid providers, stored with their history."""
