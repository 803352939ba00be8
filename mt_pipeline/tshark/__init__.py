"""The tshark room: a capture in, one document per packet out."""
