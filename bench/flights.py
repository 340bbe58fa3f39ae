"""A proxy before PostgreSQL that counts round trips: what the client sends between two answers of the server is one."""

import collections
import socket
import threading


class Flights:
    """Listens on a free port of 127.0.0.1 and passes everything on to PostgreSQL on `port`."""

    def __init__(self, port):
        self.counted = collections.Counter()
        self._lock = threading.Lock()
        self._upstream = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def take(self):
        """The round trips since the last call, by the first word of their statement."""
        with self._lock:
            counted, self.counted = self.counted, collections.Counter()
        return counted

    def _accept(self):
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(self._upstream)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(self, client, server)
            threading.Thread(target=connection.to_server, daemon=True).start()
            threading.Thread(target=connection.to_client, daemon=True).start()


class _Connection:
    def __init__(self, flights, client, server):
        self.flights, self.client, self.server = flights, client, server
        self.answered, self.started, self.statements, self.rest = True, False, {}, b""

    def to_client(self):
        while data := _receive(self.server):
            self.answered = True
            self.client.sendall(data)
        self.client.close()

    def to_server(self):
        while data := _receive(self.client):
            word = self._word(data)
            if self.answered and word:
                self.answered = False
                with self.flights._lock:
                    self.flights.counted[word] += 1
            self.server.sendall(data)
        self.server.close()

    def _word(self, data):
        """What is asked for; nothing while the connection is set up (PostgreSQL's protocol, "Message Formats")."""
        self.rest += data
        if not self.started:
            # The first message has no type; the password that follows begins with "p".
            self.started, self.rest = True, b""
            return None
        word = None
        while len(self.rest) >= 5:
            kind, length = self.rest[:1], int.from_bytes(self.rest[1:5], "big")
            if len(self.rest) < 1 + length:
                break
            body, self.rest = self.rest[5 : 1 + length], self.rest[1 + length :]
            if kind == b"P":
                name, text, _ = body.split(b"\0", 2)
                self.statements[name], word = _first(text), "prepare"
            elif kind == b"B":
                word = self.statements.get(body.split(b"\0", 2)[1], "unknown")
            elif kind == b"Q":
                word = _first(body)
            elif kind == b"S" and word is None:
                word = "ping"
        return word


def _first(text):
    words = text.decode().split()
    return "pg_notify" if "pg_notify" in text.decode() else words[0].lower().rstrip("\0;")


def _receive(end):
    try:
        return end.recv(65536)
    except OSError:
        return b""
