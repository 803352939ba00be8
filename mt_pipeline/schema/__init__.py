"""The tables: columns of packets, flows and captures. DDL, docs and dashboards derive from them."""
