"""Opens COUNT WebSockets to PORT and says so; looks whether each still echoes at one SIGUSR1, and ends at the next."""

import signal
import socket
import sys

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n")


def read(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        assert part, "the server has closed"
        data += part
    return data


def read_head(connection):
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += read(connection, 1)
    assert data.startswith(b"HTTP/1.1 101"), data


# Before anybody knows that it runs: unblocked it would end the program.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
port, count = int(sys.argv[1]), int(sys.argv[2])
connections = []
for at in range(0, count, 200):
    batch = []
    for _ in range(at, min(at + 200, count)):
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.sendall(REQUEST)
        batch.append(connection)
    for connection in batch:
        read_head(connection)
    connections += batch
print(f"open {len(connections)}", flush=True)
signal.sigwait({signal.SIGUSR1})
for connection in connections:
    connection.sendall(b"\x81\x82\0\0\0\0hi")
for connection in connections:
    assert read(connection, 4) == b"\x81\x02hi"
print("all echo", flush=True)
signal.sigwait({signal.SIGUSR1})
