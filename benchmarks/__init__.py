"""How fast minissr is, beside the frameworks one would otherwise use. See README.md here."""
