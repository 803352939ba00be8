"""Answers questions of programs that speak the Model Context Protocol (MCP), such as assistants.

`server.py` offers the tools, `tools.py` answers them by a session of `api/`, and `answers.py`
keeps answers small. Nothing here writes, and nothing here reads settings.
"""
