"""Tests of mt_pipeline/mcp_server."""
