"""What the machines of a cluster know of one another: members, broker, and how one joins."""
