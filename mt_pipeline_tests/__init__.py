"""Tests, in folders like the product's. They use real parts: tshark, QuestDB, HTTP, Dagster."""
