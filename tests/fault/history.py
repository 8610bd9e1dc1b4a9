# SPDX-License-Identifier: MIT
"""The written history of a run: one JSON object a line, in the order of observation.

Every line has `e` (kind) and `t` (seconds since the start).  One process writes it from
one event loop, so the order of the lines is the order in which things were seen.

  user       u name id                      an account; `u` is its number from here on
  dial       c u role                       a connection is about to be opened
  open       c                              connectSuccess was read on it
  refused    c code                         `connect` was answered with an error
  close      c code by                      it is gone; by: us, peer
  send       c u m to h                     sendMessage written; h: digest of its fields
  answer     c m r code                     r: accepted, or error with its code
  recv       c m from to h                  a `message` was read
  ack        c m from                       acknowledgeMessage written
  ackerr     c m code                       an error with the messageId of an acknowledgement
  ping/pong  c p                            protocol ping p written / its pong read
  delivered  c m                            `ack delivered` was read
  login      u                              a new session, by password
  kill, term, start, exit, end              the process, and the end of the run
"""
import hashlib
import json
import time


def digest(msg):
    """What has to arrive unchanged, as a short text."""
    fields = (msg.get("id"), msg.get("from"), msg.get("to"),
              bytes(msg.get("ephemeralPublicKey") or b"").hex(), msg.get("messageNumber"),
              msg.get("content"), msg.get("timestamp"))
    return hashlib.sha256(repr(fields).encode()).hexdigest()[:24]


class History:
    def __init__(self, path):
        self.path = path
        self.file = open(path, "w")
        self.start = time.monotonic()
        self.accepted = 0

    def add(self, kind, **fields):
        line = {"e": kind, "t": round(time.monotonic() - self.start, 6)}
        line.update(fields)
        self.file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self.accepted += fields.get("r") == "accepted"

    def close(self):
        self.file.close()


def load(path):
    with open(path) as f:
        return [json.loads(line) for line in f]
