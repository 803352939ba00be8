"""The provider Netify."""
