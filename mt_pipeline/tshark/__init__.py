"""The tshark room: it turns a capture into one document per packet."""
