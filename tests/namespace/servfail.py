"""A name server that fails: it answers every query over UDP with SERVFAIL (RFC 1035, 4.1.1).

    servfail.py ADDRESS
"""

import socket
import sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
while True:
    query, client = server.recvfrom(4096)
    server.sendto(query[:2] + bytes([query[2] | 0x80, 0x82]) + query[4:], client)
