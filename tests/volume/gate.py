"""Passes connections on to HOST:PORT, the first one not before a program has read from one pipe and written to another.

    gate.py HOST:PORT REACHED GO

Prints its own address.
"""

import socket
import sys
import threading

target, reached, go = sys.argv[1:]
host, port = target.removeprefix("http://").rstrip("/").split(":")


def copy(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


listener = socket.create_server(("127.0.0.1", 0))
print("http://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
is_first = True
while True:
    client = listener.accept()[0]
    if is_first:
        open(reached, "w").close()
        open(go).close()
        is_first = False
    server = socket.create_connection((host, int(port)))
    for pair in ((client, server), (server, client)):
        threading.Thread(target=copy, args=pair, daemon=True).start()
