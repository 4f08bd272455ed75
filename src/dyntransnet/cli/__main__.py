"""``python -m dyntransnet.cli``, as torchrun starts it."""

from dyntransnet.cli import main

if __name__ == "__main__":
    main()
