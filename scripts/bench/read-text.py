# Run by drgn: reads all of the core kernel's text and says how many bytes that is.
start = prog.symbol("_stext").address  # noqa: F821 (drgn provides prog)
end = prog.symbol("_etext").address  # noqa: F821
print("text", len(prog.read(start, end - start)))  # noqa: F821
