"""Tables and plots out of the raw lines of a run; ``__main__`` says how it is started."""
