# Thin names for ./dev.
.PHONY: run test lint
run test lint:
	./dev $@
