"""The command line against real perf, real BPF and real container runtimes."""
