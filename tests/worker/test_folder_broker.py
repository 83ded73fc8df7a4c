"""The embedded broker under many hands: readers that come while a message is being written."""

import multiprocessing
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection

from db.settings import Settings
from tests.services import wait_for
from worker.queue import QUEUE, make_celery

MESSAGES = 300
SENDERS = 4
forks = multiprocessing.get_context("forkserver")


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def connection(settings) -> Iterator[Connection]:
    with make_celery(settings).connection_for_read() as connection:
        yield connection


def send(home: Path, sender: int) -> None:
    app = make_celery(Settings(home=home))
    for number in range(MESSAGES):
        app.send_task("any", [f"{sender}-{number}"], retry=False)


def test_no_message_is_lost_or_torn_while_many_send(settings, connection):
    senders = [forks.Process(target=send, args=(settings.home, number)) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    queue = connection.SimpleQueue(QUEUE)
    got = set()
    while len(got) < MESSAGES * SENDERS:
        message = queue.get(timeout=60)
        message.ack()
        got.add(message.payload[0][0])
    for sender in senders:
        sender.join()
    assert [sender.exitcode for sender in senders] == [0] * SENDERS
    assert got == {f"{sender}-{number}" for sender in range(SENDERS) for number in range(MESSAGES)}
    queue.close()


def send_to_full_disk(home: Path) -> None:
    app = make_celery(Settings(home=home))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
    with pytest.raises(OSError, match="too large"):
        app.send_task("any", ["text"], retry=False)


def test_a_message_that_does_not_fit_leaves_nothing_behind(settings, connection):
    queue = connection.SimpleQueue(QUEUE)
    sender = forks.Process(target=send_to_full_disk, args=(settings.home,))
    sender.start()
    sender.join()
    assert sender.exitcode == 0
    assert not list((settings.messages / "queue").iterdir())
    queue.close()


@pytest.mark.parametrize("content", [b"", b'{"body": "W1tdL'])
def test_a_message_cut_short_is_passed_over(settings, connection, content, caplog):
    queue = connection.SimpleQueue(QUEUE)
    folder = settings.messages / "queue"
    (folder / f"0_cut.{QUEUE}.msg").write_bytes(content)
    make_celery(settings).send_task("any", ["whole"], retry=False)
    message = queue.get(timeout=10)
    message.ack()
    assert message.payload[0] == ["whole"]
    assert "not whole" in caplog.text
    wait_for(lambda: not list(folder.iterdir()), timeout=1)
    queue.close()
