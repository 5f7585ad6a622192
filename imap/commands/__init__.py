"""One IMAP command per file; `imap.commands.table` is the only list of them."""
