"""Generated from proto/negmine/v1; `make proto` writes it anew."""
