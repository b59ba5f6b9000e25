"""A process that uses Pulsar: `fork` uses a broker in a forked child, `wait` waits for a message until Ctrl-C, `leave`
asks for a topic that is not there, and ends. It prints a line at each step.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from transport import open_broker
from transport.errors import BrokerDown, Forked
from transport.port import Broker, Consumer, Delivery
from transport.pulsar import PulsarOptions


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def refusals(broker: Broker, consumer: Consumer, held: Delivery) -> int:
    """Count the calls of an inherited broker that raise."""
    count = 0
    for use in (
        broker.publish("poll", b"x"),
        broker.subscribe(["poll"], "workers"),
        broker.backlog("poll", "workers"),
        consumer.receive(),
        consumer.ack(held),
        consumer.release(held),
    ):
        try:
            await use
        except Forked:
            count += 1
    await broker.close()
    return count


async def fork(broker: Broker, consumer: Consumer) -> None:
    await broker.publish("poll", b"x")
    held = await consumer.receive()
    child = os.fork()
    if child == 0:
        os._exit(await refusals(broker, consumer, held))
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    say(f"refused {os.waitstatus_to_exitcode(status)}")
    await consumer.ack(held)
    await broker.publish("poll", b"y")
    say(f"parent goes on: {(await consumer.receive()).payload.decode()}")


async def wait(broker: Broker, consumer: Consumer) -> None:
    say("waiting")
    try:
        await consumer.receive()
    except asyncio.CancelledError:
        say("cancelled")
        raise


async def leave(broker: Broker) -> None:
    try:
        await broker.subscribe(["poll"], "workers")
    except BrokerDown as error:
        say("not there" if "the topic does not exist" in str(error) else str(error))


async def main(arguments: argparse.Namespace) -> None:
    token = arguments.token
    supplier = (lambda: token) if token else None
    broker = await open_broker(PulsarOptions(url=arguments.url, token=supplier, namespace=arguments.namespace))
    try:
        if arguments.what == "leave":
            await leave(broker)
            return
        consumer = await broker.subscribe(["poll"], "workers")
        await {"fork": fork, "wait": wait}[arguments.what](broker, consumer)
    finally:
        if not arguments.leave_open:
            await broker.close()
            if arguments.what != "leave":
                say("closed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["fork", "wait", "leave"])
    parser.add_argument("--url")
    parser.add_argument("--token")
    parser.add_argument("--namespace")
    parser.add_argument("--leave-open", action="store_true")
    asyncio.run(main(parser.parse_args()))
