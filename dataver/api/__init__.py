"""The public classes and functions, one noun a module; `dataver` itself imports them when first used."""
