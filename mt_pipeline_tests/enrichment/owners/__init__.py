"""Who runs the remote end: networks, companies, trackers, parties."""
