#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A gRPC server and its client, without generated code: messages are bytes.

usage: grpc_peers.py serve PORT | grpc_peers.py call HOST:PORT kinds|statuses|deadline|cancel
"""

import concurrent.futures
import sys
import threading
import time

import grpc

STATUSES = {code.value[0]: code for code in grpc.StatusCode}
SECRET = "detail that stays here"


def unary(request, context):
    return request


def fail(request, context):
    code = STATUSES[int(request)]
    if code is not grpc.StatusCode.OK:
        context.abort(code, SECRET)
    return b"fine"


def client_stream(requests, context):
    return b"%d" % sum(len(r) for r in requests)


def server_stream(request, context):
    for i in range(int(request)):
        yield b"x" * i


def bidi(requests, context):
    for request in requests:
        yield request
        yield request


def slow(request, context):
    done = threading.Event()
    context.add_callback(done.set)
    done.wait(20)
    return b""


def drip(request, context):
    while context.is_active():
        yield b"drop"
        time.sleep(0.01)


def serve(port):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("lab.Echo", {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
        "Drip": grpc.unary_stream_rpc_method_handler(drip),
    })])
    server.add_insecure_port(f"0.0.0.0:{port}")
    server.start()
    server.wait_for_termination()


def kinds(channel):
    for i in range(20):
        channel.unary_unary("/lab.Echo/Unary")(b"u" * 100 * i)
    channel.stream_unary("/lab.Echo/ClientStream")(iter([b"a", b"bb" * 20000, b"", b"dddd", b"eeeee"]))
    list(channel.unary_stream("/lab.Echo/ServerStream")(b"300"))
    list(channel.stream_stream("/lab.Echo/Bidi")(iter([b"1", b"22", b"333", b"4444"])))


def statuses(channel):
    for code in sorted(STATUSES):
        try:
            channel.unary_unary("/lab.Echo/Fail")(b"%d" % code)
        except grpc.RpcError as e:
            assert e.code() is STATUSES[code], (code, e)
    try:
        channel.unary_unary("/lab.Echo/Missing")(b"")
    except grpc.RpcError as e:
        assert e.code() is grpc.StatusCode.UNIMPLEMENTED


def deadline(channel):
    try:
        channel.unary_unary("/lab.Echo/Slow")(b"", timeout=0.3)
    except grpc.RpcError as e:
        assert e.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def cancel(channel):
    call = channel.unary_stream("/lab.Echo/Drip")(b"")
    for _ in zip(range(3), call):
        pass
    call.cancel()
    waiting = channel.unary_unary("/lab.Echo/Slow").future(b"")
    channel.unary_unary("/lab.Echo/Unary")(b"meanwhile")
    waiting.cancel()
    channel.unary_unary("/lab.Echo/Unary")(b"afterwards")


def main():
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
        return
    with grpc.insecure_channel(sys.argv[2]) as channel:
        {"kinds": kinds, "statuses": statuses, "deadline": deadline, "cancel": cancel}[sys.argv[3]](channel)


if __name__ == "__main__":
    main()
