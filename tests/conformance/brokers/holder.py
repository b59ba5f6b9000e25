"""A process of the suite: publishes, then receives messages and holds them until it is killed or must ack them.

It prints the id of each message that it published or received, each on a line, and `acked` when it has acked.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from transport import open_broker
from transport.port import Broker
from transport.pulsar import PulsarOptions
from transport.sqlite import SqliteBroker


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def open_it(arguments: argparse.Namespace) -> Broker:
    if arguments.sqlite:
        return await SqliteBroker.open(arguments.sqlite, lease=arguments.lease)
    token = arguments.token
    supplier = (lambda: token) if token else None
    return await open_broker(PulsarOptions(url=arguments.url, token=supplier, namespace=arguments.namespace))


async def main(arguments: argparse.Namespace) -> None:
    broker = await open_it(arguments)
    for number in range(arguments.publish):
        say(await broker.publish(arguments.topic, f"published {number}".encode()))
    # Without prefetch it holds only the messages that it reports.
    consumer = await broker.subscribe([arguments.topic], arguments.subscription, prefetch=0)
    held = [await consumer.receive() for _ in range(arguments.count)]
    for delivery in held:
        say(delivery.message_id)
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() == "ack":
            for delivery in held:
                await consumer.ack(delivery)
            say("acked")
    await broker.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url")
    parser.add_argument("--token")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--sqlite")
    parser.add_argument("--lease", type=float)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--subscription", default="workers")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--publish", type=int, default=0)
    asyncio.run(main(parser.parse_args()))
