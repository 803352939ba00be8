"""Tests, in folders that mirror the product's. They use the real parts: tshark, QuestDB, HTTP, Dagster."""
