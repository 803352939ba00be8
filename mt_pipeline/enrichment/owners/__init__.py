"""Who runs the remote end: owner of an address, company of a name, tracker or not, party."""
