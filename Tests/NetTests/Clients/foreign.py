"""Clients of WebSocket that nobody here wrote, against a server that echoes: PORT LIBRARY."""

import asyncio
import itertools
import random
import sys

SIZES = [0, 1, 125, 126, 127, 1000, 65535, 65536, 300_000]


def payloads():
    chance = random.Random(7)
    for size in SIZES:
        yield "κ" * (size // 2)
        yield chance.randbytes(size)
        yield b"abcd" * (size // 4)


PAYLOADS = list(payloads())


async def speak_websockets(port):
    import websockets
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

    async def talk(extensions, payloads):
        async with websockets.connect(
            f"ws://127.0.0.1:{port}/", extensions=extensions, compression=None, max_size=None
        ) as socket:
            for payload in payloads:
                await socket.send(payload)
                assert await socket.recv() == payload
            await socket.send([part for part in ("frag", "", "ments")])
            assert await socket.recv() == "fragments"
            await (await socket.ping(b"are you there"))
            return [str(each.name) for each in socket.extensions]

    assert await talk(None, PAYLOADS) == []
    # A third of the bytes: there are many offers.
    smaller = [payload for payload in PAYLOADS if len(payload) <= 65536]
    bits = [None, 9, 12, 15]
    for server_context, client_context, server_bits, client_bits in itertools.product([False, True], [False, True], bits, bits + [True]):
        offer = ClientPerMessageDeflateFactory(
            server_no_context_takeover=server_context, client_no_context_takeover=client_context,
            server_max_window_bits=server_bits, client_max_window_bits=client_bits)
        assert await talk([offer], smaller) == ["permessage-deflate"]
    async with websockets.connect(f"ws://127.0.0.1:{port}/") as socket:
        await socket.close(4000, "enough")
        assert socket.close_code == 4000, socket.close_code


async def speak_aiohttp(port):
    import aiohttp

    async with aiohttp.ClientSession() as session:
        for compress in (0, 9, 15):
            async with session.ws_connect(f"http://127.0.0.1:{port}/", compress=compress, max_msg_size=0) as socket:
                for payload in PAYLOADS:
                    if isinstance(payload, str):
                        await socket.send_str(payload)
                        assert await socket.receive_str() == payload
                    else:
                        await socket.send_bytes(payload)
                        assert await socket.receive_bytes() == payload
                await socket.ping(b"x")
                await socket.close(code=4001, message=b"enough")
                assert socket.close_code == 4001, socket.close_code
        async with session.get(f"http://127.0.0.1:{port}/stream") as answer:
            assert answer.status == 200
            assert await answer.text() == "data: 0\n\ndata: 1\n\ndata: 2\n\n"


asyncio.run({"websockets": speak_websockets, "aiohttp": speak_aiohttp}[sys.argv[2]](int(sys.argv[1])))
print("well spoken")
