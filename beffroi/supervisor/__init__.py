"""The parent process: binds, drops privileges, starts workers, restarts them, reloads, drains (design.md section 6).

Refuses to know what a worker does: it hands out sockets and the configuration, and listens for "ready".
"""
