"""Answers every request with 200 and notes it, one line each: host, path, body."""
import http.server
import ssl
import sys
import threading

address, certificate, key, log = sys.argv[1:]
lock = threading.Lock()


class Recorder(http.server.BaseHTTPRequestHandler):
    def note(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
        with lock, open(log, "a") as out:
            out.write(f"{self.command} {self.headers.get('Host')}{self.path} {body!r}\n")
        answer = b'{"ok": true}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_HEAD = note

    def log_message(self, *_):
        pass


plain = http.server.ThreadingHTTPServer((address, 80), Recorder)
threading.Thread(target=plain.serve_forever, daemon=True).start()
secure = http.server.ThreadingHTTPServer((address, 443), Recorder)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
secure.socket = context.wrap_socket(secure.socket, server_side=True)
secure.serve_forever()
