"""The tests: unit (no root), contract (all sources), kernel (real BPF), e2e (real runtimes)."""
