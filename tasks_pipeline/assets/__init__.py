"""Software-defined assets, one module per sub-module of the mission; they declare and call the domain."""
