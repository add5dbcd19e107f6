"""What dataver costs, beside its peers and the physical limit; see README.md in this folder."""
