"""The guided run: azdriver on a directory of real files, every step shown and checked.

``cli`` reads the command line and opens what the run works on, ``source`` reads the directory,
``names`` maps file names to paths, ``steps`` and ``race`` are what is done, ``checks`` keeps what
was found wrong, ``show`` prints.
"""
