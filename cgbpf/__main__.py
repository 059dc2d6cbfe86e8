"""`python -m cgbpf` is the command `cgbpf`."""

from cgbpf.cli import main

if __name__ == "__main__":
    main()
