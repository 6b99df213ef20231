"""The downloader against everything that a server or a network may do to it."""

from __future__ import annotations

import json
import zipfile

import pytest
from faults import (
    PAGE,
    SECRET,
    SLUG,
    answer,
    both,
    drop_after,
    flip,
    no_ranges,
    quick,
    stall_after,
    trickle,
    truncate,
    without,
)

from kaggle_kit.errors import CredentialsError, DiskFullError, ServiceError
from kaggle_kit.kaggle_service import KaggleService

NAME = "train/train/train.npz"
STORED = "/storage/files/" + NAME
SIZE = 400_004


@pytest.fixture
def content(hosted):
    return (hosted.files / NAME).read_bytes()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "train.npz"


def assert_nothing_is_left_beside(target):
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name]


def test_file_arrives_whole_through_a_signed_link(service, server, content, target):
    got = service.download(SLUG, NAME, target, expected_size=SIZE)
    assert target.read_bytes() == content
    assert (got.size, got.bytes_received) == (SIZE, SIZE)
    assert_nothing_is_left_beside(target)
    [stored] = server.asked(STORED)
    assert "Authorization" in stored.headers, "the server's own origin may ask for credentials"


@pytest.mark.parametrize(
    "fault",
    [
        drop_after(150_000),
        truncate(150_000),
        flip(399_000),
        answer(403, PAGE, "text/html"),
        answer(200, PAGE, "text/html"),
        answer(200, b'{"code":503,"message":"later"}'),
        answer(429, Retry_After="0"),
        answer(503),
    ],
    ids=["dropped", "truncated", "flipped", "expired", "page", "json", "429", "503"],
)
def test_one_fault_of_the_storage_is_survived(service, server, content, target, fault):
    server.fault(STORED, fault)
    service.download(SLUG, NAME, target, expected_size=SIZE)
    assert target.read_bytes() == content
    assert_nothing_is_left_beside(target)
    assert len(server.asked("DownloadDataFile")) == 2, "every try asks for a fresh link"


def test_link_that_expires_while_a_drop_is_retried_writes_no_page_into_the_file(service, server, content, target):
    server.fault(STORED, drop_after(150_000))
    server.fault(STORED, answer(403, PAGE, "text/html"))
    got = service.download(SLUG, NAME, target)
    assert target.read_bytes() == content
    assert got.bytes_received == SIZE, "no byte came twice"


def test_drops_again_and_again_are_survived_while_the_file_grows(service, server, content, target):
    server.fault(STORED, drop_after(20_000), times=15)
    got = service.download(SLUG, NAME, target)
    assert target.read_bytes() == content
    assert got.bytes_received == SIZE


def test_drops_without_progress_are_given_up_and_the_part_is_kept(service, server, target):
    server.fault(STORED, drop_after(150_000))
    server.fault(STORED, drop_after(0), times=99)
    with pytest.raises(ServiceError, match=r"the connection was dropped \(after 4 tries"):
        service.download(SLUG, NAME, target)
    assert target.with_name("train.npz.part").stat().st_size == 150_000
    assert not target.exists()


def test_second_run_asks_only_for_what_is_missing(service, server, content, target):
    server.fault(STORED, drop_after(150_000))
    server.fault(STORED, drop_after(0), times=3)
    with pytest.raises(ServiceError, match="dropped"):
        service.download(SLUG, NAME, target)
    before = sum(seen.sent for seen in server.asked(STORED))
    got = KaggleService(quick()).download(SLUG, NAME, target)
    assert target.read_bytes() == content
    assert got.bytes_received == SIZE - 150_000 == sum(seen.sent for seen in server.asked(STORED)) - before
    assert server.asked(STORED)[-1].headers["Range"] == "bytes=150000-"
    assert "If-Range" in server.asked(STORED)[-1].headers


def test_file_that_changed_meanwhile_is_begun_anew(service, server, hosted, target):
    server.fault(STORED, drop_after(150_000))
    server.fault(STORED, drop_after(0), times=3)
    with pytest.raises(ServiceError, match="dropped"):
        service.download(SLUG, NAME, target)
    (hosted.files / NAME).write_bytes(b"PK" + b"new" * 100_000)
    service.download(SLUG, NAME, target)
    assert target.read_bytes() == b"PK" + b"new" * 100_000


def test_server_that_continues_another_version_is_not_believed(service, server, hosted, content, target):
    """The server ignores If-Range: only the ETag in its answer betrays that the rest belongs to another file."""
    server.fault(STORED, drop_after(150_000))
    server.fault(STORED, drop_after(0), times=3)
    with pytest.raises(ServiceError, match="dropped"):
        service.download(SLUG, NAME, target)
    (hosted.files / NAME).write_bytes(bytes(reversed(content)))

    def ignore_condition(server, exchange, proceed):
        del exchange.headers["If-Range"]
        proceed()

    server.fault(STORED, ignore_condition)
    service.download(SLUG, NAME, target)
    assert target.read_bytes() == bytes(reversed(content))


def test_part_of_another_file_is_not_continued(service, server, content, target):
    target.parent.mkdir()
    target.with_name("train.npz.part").write_bytes(b"something else")
    service.download(SLUG, NAME, target)
    assert target.read_bytes() == content
    assert "Range" not in server.asked(STORED)[0].headers


def test_whole_part_left_by_a_kill_is_checked_and_named_without_the_network(service, server, content, target):
    target.parent.mkdir()
    target.with_name("train.npz.part").write_bytes(content)
    server.fault(STORED, drop_after(100))
    server.fault(STORED, drop_after(0), times=3)
    other = target.with_name("other.npz")
    with pytest.raises(ServiceError, match="dropped"):
        service.download(SLUG, NAME, other)
    other.with_name("other.npz.part").write_bytes(content)
    before = len(server.requests)
    got = service.download(SLUG, NAME, other)
    assert (got.bytes_received, len(server.requests)) == (0, before)
    assert other.read_bytes() == content


def test_server_without_ranges_is_begun_anew_and_survived(service, server, content, target):
    server.fault(STORED, both(no_ranges, drop_after(150_000)))
    server.fault(STORED, no_ranges, times=9)
    got = service.download(SLUG, NAME, target)
    assert target.read_bytes() == content
    assert got.bytes_received == SIZE + 150_000


def test_truncation_without_any_trace_is_found_by_the_list_of_files(service, server, content, target):
    server.fault(STORED, both(without("x-goog-hash", "ETag", "Last-Modified"), truncate(150_000)))
    service.download(SLUG, NAME, target, expected_size=SIZE)
    assert target.read_bytes() == content


def test_server_that_tells_no_hash_and_no_version_is_accepted(service, server, content, target):
    server.fault(STORED, without("x-goog-hash", "ETag", "Last-Modified", "Accept-Ranges"), times=9)
    service.download(SLUG, NAME, target, expected_size=SIZE)
    assert target.read_bytes() == content


def test_server_that_is_always_wrong_is_given_up_and_nothing_is_kept(service, server, target):
    server.fault(STORED, flip(10), times=99)
    with pytest.raises(ServiceError, match=r"damaged: its MD5 is \w+ instead of \w+ \(3 times"):
        service.download(SLUG, NAME, target)
    assert list(target.parent.iterdir()) == []
    assert len(server.asked(STORED)) == 3


def test_slow_server_is_waited_for(server, content, target):
    server.fault(STORED, trickle(0.005))
    KaggleService(quick(read_timeout_s=0.5, deadline_s=0.5)).download(SLUG, NAME, target)
    assert target.read_bytes() == content


def test_stalled_server_costs_the_timeout_and_is_continued(server, content, target):
    server.fault(STORED, stall_after(150_000))
    got = KaggleService(quick(read_timeout_s=0.3)).download(SLUG, NAME, target)
    assert target.read_bytes() == content
    assert got.bytes_received == SIZE


def test_file_served_at_once_without_a_redirect_is_taken(service, server, hosted, content, target):
    def serve(server, exchange, proceed):
        exchange.send_file(hosted.files / NAME, server._md5(hosted.files / NAME))

    server.fault("DownloadDataFile", both(drop_after(150_000), serve))
    server.fault("DownloadDataFile", serve, times=9)
    got = service.download(SLUG, NAME, target)
    assert target.read_bytes() == content
    assert got.bytes_received == SIZE
    assert server.asked(STORED) == []


def test_single_file_that_arrives_zipped_is_unpacked(service, server, hosted, content, target):
    wrapped = hosted.files.parent / "wrapped"
    with zipfile.ZipFile(wrapped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.npz", content)
    server.fault(STORED, lambda server, exchange, proceed: exchange.send_file(wrapped, server._md5(wrapped)))
    got = service.download(SLUG, NAME, target, expected_size=SIZE)
    assert target.read_bytes() == content
    assert got.size == SIZE
    assert_nothing_is_left_beside(target)


def test_broken_zip_around_a_file_is_not_taken_off_and_the_older_file_stays(service, server, hosted, content, target):
    wrapped = hosted.files.parent / "wrapped"
    with zipfile.ZipFile(wrapped, "w") as archive:
        archive.writestr("train.npz", content)
    damaged = bytearray(wrapped.read_bytes())
    damaged[5000] ^= 1
    wrapped.write_bytes(damaged)
    target.parent.mkdir()
    target.write_bytes(b"old")
    server.fault(STORED, lambda server, exchange, proceed: exchange.send_file(wrapped, server._md5(wrapped)), times=9)
    with pytest.raises(ServiceError, match="Bad CRC-32"):
        service.download(SLUG, NAME, target)
    assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == {"train.npz": b"old"}


def test_npz_with_one_array_stays_an_npz(service, hosted, target):
    with zipfile.ZipFile(hosted.files / "one.npz", "w") as archive:
        archive.writestr("array.npy", b"...")
    service.download(SLUG, "one.npz", target.with_name("one.npz"))
    assert zipfile.is_zipfile(target.with_name("one.npz"))


def test_disk_without_space_is_found_before_the_first_byte(service, server, target):
    server.fault(STORED, without("Content-Length"))
    target.parent.mkdir()
    with pytest.raises(DiskFullError, match=r"needs 1000 TB more"):
        service.download(SLUG, NAME, target, expected_size=10**15)
    assert list(target.parent.iterdir()) == []


def test_older_file_of_that_name_stays_until_the_new_one_is_whole(service, server, target):
    target.parent.mkdir()
    target.write_bytes(b"old")
    server.fault(STORED, drop_after(100), times=99)
    with pytest.raises(ServiceError, match="dropped"):
        service.download(SLUG, NAME, target)
    assert target.read_bytes() == b"old"


def test_marker_holds_neither_the_link_nor_a_secret(service, server, target):
    server.fault(STORED, drop_after(100))
    server.fault(STORED, drop_after(0), times=99)
    with pytest.raises(ServiceError, match="dropped") as caught:
        service.download(SLUG, NAME, target)
    marker = target.with_name("train.npz.part.json").read_text()
    assert json.loads(marker)["identity"]["name"] == NAME
    assert "signature" not in marker + caught.value.message
    assert SECRET not in marker + caught.value.message


def test_link_to_another_machine_without_tls_is_refused(service, server, target):
    server.fault("DownloadDataFile", answer(302, Location="http://files.example.org/x?signature=1"))
    with pytest.raises(ServiceError, match=r"not safe: http to files.example.org"):
        service.download(SLUG, NAME, target)


def test_links_that_lead_in_a_circle_are_given_up(service, server, target):
    link = "/storage/files/circle"
    server.fault("DownloadDataFile", answer(302, Location=link), times=99)
    server.fault(link, answer(302, Location=link), times=99)
    with pytest.raises(ServiceError, match="from server to server without end"):
        service.download(SLUG, NAME, target)


def test_archive_of_everything_holds_every_file(service, hosted, target):
    archive = target.with_name("all.zip")
    service.download_all(SLUG, archive)
    with zipfile.ZipFile(archive) as file:
        assert sorted(file.namelist()) == sorted(f.name for f in service.files(SLUG))


def test_credentials_revoked_meanwhile_end_the_download_and_keep_the_part(service, server, target):
    server.fault(STORED, drop_after(150_000))

    def revoke_after_the_first(server, exchange, proceed):
        server.fault("DownloadDataFile", answer(401, b'{"code":401,"message":"Unauthenticated"}'))
        proceed()

    server.fault("DownloadDataFile", revoke_after_the_first)
    with pytest.raises(CredentialsError, match="refused the credentials"):
        service.download(SLUG, NAME, target)
    assert target.with_name("train.npz.part").stat().st_size == 150_000


def test_part_that_is_longer_than_the_file_has_become_is_begun_anew(service, server, hosted, content, target):
    server.fault(STORED, drop_after(150_000))
    server.fault(STORED, answer(416))
    service.download(SLUG, NAME, target)
    assert target.read_bytes() == content


def test_server_that_never_offers_the_same_file_twice_is_given_up(service, server, target):
    """Each answer has another ETag: what came before is thrown away each time, however much it was."""
    count = iter(range(1000))

    def renamed(server, exchange, proceed):
        wire, tag = exchange.wfile, b'ETag: "%d"' % next(count)
        plain = wire.change_head
        wire.change_head = lambda lines: plain(
            b"\r\n".join(tag if line.lower().startswith(b"etag") else line for line in lines.split(b"\r\n"))
        )
        drop_after(150_000)(server, exchange, proceed)

    server.fault(STORED, both(without("x-goog-hash", "Last-Modified"), renamed), times=1000)
    with pytest.raises(ServiceError):
        service.download(SLUG, NAME, target)
    assert len(server.asked(STORED)) < 20


@pytest.mark.parametrize("member", [".\\train.npz", "./train.npz", "a//train.npz", "a\\train.npz"])
def test_zip_around_the_file_is_taken_off_however_its_member_is_written(
    service, server, content, target, member, tmp_path
):
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(member, content)
    server.fault(STORED, lambda server, exchange, proceed: exchange.send_file(packed, server._md5(packed)))
    service.download(SLUG, NAME, target)
    assert target.read_bytes() == content


def test_refusal_in_place_of_the_file_repeats_no_secret(service, server, target):
    body = b'{"code":403,"message":"the token %s is not liked"}' % SECRET.encode()
    server.fault("DownloadDataFile", answer(200, body), times=99)
    with pytest.raises(CredentialsError) as caught:
        service.download(SLUG, NAME, target)
    assert "is not liked" in str(caught.value)
    assert SECRET not in str(caught.value)
