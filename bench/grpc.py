#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Calls a second and CPU a call, one connection: our gRPC server and client beside nghttp2's own.

usage: grpc.py FOLDER_OF_grpc_echo [CALLS [RUNS]]   (by make bench-grpc)
Prints one TSV row a pair: name, streams, bytes, calls/s, CPU us a call of client and of server; medians.
h2load -> nghttpd is the floor: the same library, a GET of a file of as many bytes, without request body,
prefix, status and trailers.
"""
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

FOLDER = sys.argv[1]
CALLS = int(sys.argv[2]) if len(sys.argv) > 2 else 100000
RUNS = int(sys.argv[3]) if len(sys.argv) > 3 else 5
BYTES = 64
TICK = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def children():
    u = resource.getrusage(resource.RUSAGE_CHILDREN)
    return u.ru_utime + u.ru_stime


def ours():
    server = subprocess.Popen([f"{FOLDER}/grpc_echo"], stdout=subprocess.PIPE, text=True)
    return server, int(server.stdout.readline().split()[1])


def nghttpd(folder):
    for port in range(21000, 21100):  # it cannot tell a port that it chose
        server = subprocess.Popen(["nghttpd", "--no-tls", "-d", folder, str(port)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        if server.poll() is None:
            return server, port
    sys.exit("no port for nghttpd")


def h2load(port, streams, *more):
    out = subprocess.run(["h2load", "-n", str(CALLS), "-c", "1", "-m", str(streams), *more,
                          f"http://127.0.0.1:{port}/test.Echo/Echo"],
                         capture_output=True, text=True, check=True).stdout
    if f"{CALLS} succeeded, 0 failed" not in out:
        sys.exit(out)
    return float(re.search(r"([\d.]+) req/s", out).group(1))


def grpc_load(port, streams):
    out = subprocess.run([f"{FOLDER}/grpc_load", f"http://127.0.0.1:{port}", str(CALLS), str(streams),
                          str(BYTES)], capture_output=True, text=True, check=True).stdout
    words = out.split()
    return int(words[1]) / float(words[5])


def measure(name, serve, load, streams):
    rows = []
    for _ in range(RUNS):
        server, port = serve()
        load_before, server_before = children(), cpu_of(server.pid)
        rate = load(port, streams)
        rows.append((rate, (children() - load_before) / CALLS * 1e6,
                     (cpu_of(server.pid) - server_before) / CALLS * 1e6))
        server.terminate()
        server.wait()
    rate, client, serving = (statistics.median(column) for column in zip(*rows))
    print(f"{name}\t{streams}\t{BYTES}\t{rate:.0f}\t{client:.2f}\t{serving:.2f}", flush=True)


def main():
    print("pair\tstreams\tbytes\tcalls/s\tclient_us\tserver_us")
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/data"
        with open(data, "wb") as f:
            f.write(b"\0\0\0\0" + bytes([BYTES]) + b"x" * BYTES)
        os.mkdir(f"{folder}/test.Echo")
        with open(f"{folder}/test.Echo/Echo", "wb") as f:
            f.write(b"x" * BYTES)
        post = ("-d", data, "-H", "content-type: application/grpc", "-H", "te: trailers")
        pairs = (("h2load -> nghttpd", lambda: nghttpd(folder), h2load),
                 ("h2load -> ours", ours, lambda port, streams: h2load(port, streams, *post)),
                 ("ours -> ours", ours, grpc_load))
        for streams in (100, 1):
            for pair in pairs:
                measure(*pair, streams)


main()
