# SPDX-License-Identifier: Apache-2.0
"""A WebSocket server and client made with the library of that name.

    ws_peers.py serve                  port 80, echoes; /bye closes with 1011 at the first message
    ws_peers.py talk HOST PATH COUNT   sends COUNT text and COUNT binary messages, a ping, and closes with 1000
"""

import asyncio
import os
import sys

import websockets


async def echo(connection):
    async for message in connection:
        if connection.request.path == "/bye":
            await connection.close(1011, "no more")
            return
        await connection.send(message)


async def serve():
    async with websockets.serve(echo, "0.0.0.0", 80, max_size=None):
        print("ready", flush=True)
        await asyncio.get_running_loop().create_future()


async def talk(host, path, count):
    async with websockets.connect(f"ws://{host}{path}", max_size=None, compression=None) as connection:
        for i in range(count):
            for message in (f"message {i}", os.urandom(100 * i)):
                await connection.send(message)
                try:
                    await connection.recv()
                except websockets.ConnectionClosed:
                    return
        await (await connection.ping())


if sys.argv[1] == "serve":
    asyncio.run(serve())
else:
    asyncio.run(talk(sys.argv[2], sys.argv[3], int(sys.argv[4])))
