"""``python -m benchmarks.standin``: serve until standard input ends."""

from benchmarks.standin.server import main

if __name__ == "__main__":
    main()
