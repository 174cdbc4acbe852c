"""Host keys as pure values and lines of a file; ssh-keygen has the last word on formats."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra_tasks.errors import ReleaseError
from infra_tasks.model.ssh_address import SshAddress
from infra_tasks.releases.remote import known_hosts
from infra_tasks.releases.remote.host_key import HostKey, Judgement, judge, key_of, refused, where
from infra_tasks.settings import Home

MAC = SshAddress("me", "Mac-2.local", 2222)
PLAIN = SshAddress("me", "mac-2.local")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Real keys with the fingerprints ssh-keygen gives them: {name: (key, fingerprint)}."""
    made = {}
    for name, kind in (("one", "ed25519"), ("two", "ed25519"), ("rsa", "rsa"), ("curve", "ecdsa")):
        path = tmp_path_factory.mktemp("keys") / name
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True, stdin=subprocess.DEVNULL)
        said = subprocess.run(["ssh-keygen", "-lf", path], check=True, capture_output=True, text=True).stdout
        kind_word, text, *_ = path.with_suffix(".pub").read_text().split()
        made[name] = (key_of(kind_word, text), said.split()[1])
    return made


@pytest.fixture
def one(keys):
    return keys["one"][0]


@pytest.fixture
def two(keys):
    return keys["two"][0]


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def write(home, text):
    place = known_hosts.file_of(home)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def test_a_fingerprint_is_what_ssh_keygen_prints(keys):
    assert all(key.fingerprint == said for key, said in keys.values())


def test_a_key_is_the_known_one_or_unknown_or_changed(keys):
    one, two, rsa = (keys[name][0] for name in ("one", "two", "rsa"))
    assert judge([], one) is Judgement.UNKNOWN
    assert judge([rsa, one], one) is Judgement.SAME
    assert judge([one], two) is Judgement.CHANGED
    assert judge([rsa], one) is Judgement.CHANGED, "the host was asked for the known type and did not have it"


@pytest.mark.parametrize("words", [("ssh-ed25519", "no base64!"), ("ssh-ed25519", "YWJj"), ("ssh-rsa", "")])
def test_what_is_no_key_is_none(words):
    assert key_of(*words) is None


def test_a_key_under_the_name_of_another_type_is_none(one):
    assert key_of("ssh-rsa", one.base64) is None


def test_an_unknown_key_is_refused_with_all_it_takes_to_accept_it(one):
    said = str(refused("mac-2", MAC, [], one))
    for words in ("mac-2", "me@Mac-2.local:2222", one.fingerprint, "ssh-ed25519", "unknown", "infra key accept mac-2"):
        assert words in said
    assert "infra key accept mac-2" in str(refused("mac-2", MAC, [], None))


def test_a_changed_key_is_refused_with_what_was_found_and_what_was_known(one, two):
    said = str(refused("mac-2", MAC, [one], two))
    for words in ("mac-2", "me@Mac-2.local:2222", f"found {two}", f"known {one}", "CHANGED", "infra key accept mac-2"):
        assert words in said
    assert str(one) in str(refused("mac-2", MAC, [one], None))


def test_an_address_is_said_as_nodes_json_says_it():
    assert where(SshAddress("me", "mac")) == "me@mac"
    assert where(SshAddress("me", "fe80::1", 2222)) == "me@[fe80::1]:2222"


def test_nothing_is_known_before_anything_was_accepted(home):
    assert known_hosts.known(home, MAC) == []
    assert known_hosts.accepted(home) == []
    assert known_hosts.forget(home, MAC) == []
    assert not home.root.exists()


def test_what_was_accepted_is_known_for_that_host_and_port_only(home, one, two):
    known_hosts.accept(home, MAC, one)
    known_hosts.accept(home, PLAIN, two)
    assert known_hosts.known(home, MAC) == [one]
    assert known_hosts.known(home, PLAIN) == [two]
    assert known_hosts.known(home, SshAddress("me", "mac-2.local", 2223)) == []
    place = known_hosts.file_of(home)
    assert (place.stat().st_mode & 0o777, place.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert sorted(path.name for path in place.parent.iterdir()) == ["known_hosts", "known_hosts.lock"]


def test_openssh_and_paramiko_find_what_we_wrote(home, one):
    from paramiko import HostKeys

    known_hosts.accept(home, MAC, one)
    known_hosts.accept(home, PLAIN, one)
    place = known_hosts.file_of(home)
    for name in ("mac-2.local", "[mac-2.local]:2222"):
        found = subprocess.run(["ssh-keygen", "-F", name, "-f", place], capture_output=True, text=True, check=False)
        assert one.base64 in found.stdout, name
    as_written = HostKeys(str(place))
    for name in ("mac-2.local", "[mac-2.local]:2222", "[Mac-2.local]:2222"):
        assert as_written.lookup(name)["ssh-ed25519"].get_base64() == one.base64


def test_accepting_replaces_all_keys_of_the_host_and_no_others(home, keys):
    one, two, rsa = (keys[name][0] for name in ("one", "two", "rsa"))
    other = f"other.host {two.type} {two.base64} a comment"
    text = f"# mine\n\n{other}\nMAC-2.local,10.0.0.1 {one.type} {one.base64}\nmac-2.local {rsa.type} {rsa.base64}\n"
    place = write(home, text)
    known_hosts.accept(home, PLAIN, two)
    assert known_hosts.known(home, PLAIN) == [two]
    assert place.read_text().splitlines() == [
        "# mine", "", other, f"10.0.0.1 {one.type} {one.base64}", f"mac-2.local {two.type} {two.base64}",
    ]  # fmt: skip


def test_names_that_were_hashed_are_understood(home, one, two):
    place = write(home, f"[mac-2.local]:2222 {one.type} {one.base64}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", place], check=True, capture_output=True)
    assert "mac-2" not in place.read_text()
    assert known_hosts.known(home, MAC) == [one]
    assert known_hosts.known(home, PLAIN) == []
    known_hosts.accept(home, MAC, two)
    assert known_hosts.known(home, MAC) == [two]
    assert len(place.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("names", "fits"),
    [
        ("*.local", True),
        ("mac-?.local", True),
        ("*.local,!mac-2.local", False),
        ("*.lan", False),
        ("[mac-2.local", False),
    ],
)
def test_patterns_mean_what_they_mean_to_openssh(home, one, names, fits):
    place = write(home, f"{names} {one.type} {one.base64}\n")
    assert (known_hosts.known(home, PLAIN) == [one]) is fits
    found = subprocess.run(["ssh-keygen", "-F", "mac-2.local", "-f", place], capture_output=True, check=False)
    assert bool(found.stdout) is fits


def test_lines_we_do_not_understand_stay_as_they_are(home, one):
    lines = ["@revoked * ssh-rsa AAAA", "garbage", "mac-2.local ssh-ed25519", "mac-9 ssh-ed25519 %%%"]
    lines += ["\udcff x y", "# \x85 \x0b \r"]
    place = known_hosts.file_of(home)
    place.parent.mkdir(parents=True)
    place.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    known_hosts.accept(home, PLAIN, one)
    kept = place.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    assert kept[:-2] == lines
    assert known_hosts.known(home, PLAIN) == [one]


def test_many_writers_lose_nothing(home, one):
    hosts = [SshAddress("me", f"host-{number}") for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda host: known_hosts.accept(home, host, one), hosts))
    assert all(known_hosts.known(home, host) == [one] for host in hosts)
    assert len(known_hosts.accepted(home)) == 40


def test_what_was_forgotten_is_known_no_more(home, one, two):
    known_hosts.accept(home, MAC, one)
    known_hosts.accept(home, PLAIN, two)
    assert known_hosts.forget(home, MAC) == [one]
    assert known_hosts.known(home, MAC) == []
    assert known_hosts.known(home, PLAIN) == [two]


def test_a_pattern_speaks_of_a_forgotten_host_no_more_but_of_others(home, one, two):
    place = write(home, f"*.local {one.type} {one.base64}\n")
    assert known_hosts.forget(home, PLAIN) == [one]
    assert known_hosts.known(home, PLAIN) == []
    assert known_hosts.known(home, SshAddress("me", "mac-3.local")) == [one]
    found = subprocess.run(["ssh-keygen", "-F", "mac-2.local", "-f", place], capture_output=True, check=False)
    assert not found.stdout
    known_hosts.accept(home, PLAIN, two)
    assert known_hosts.known(home, PLAIN) == [two]


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(home, one):
    home.root.mkdir()
    (home.root / "ssh").write_text("a file in its place")
    with pytest.raises(ReleaseError, match="ssh"):
        known_hosts.accept(home, MAC, one)


def test_a_key_is_shown_as_type_and_fingerprint(one):
    assert str(HostKey(one.type, one.base64)) == f"ssh-ed25519 {one.fingerprint}"
