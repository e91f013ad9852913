"""Who may call: tokens and certificates over real TLS, and what is refused how."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from globalplanner.access.entrance import entrance_of
from globalplanner.access.identity_file import IdentityFile
from globalplanner.config import GlobalPlannerConfig
from globalplanner.edge import Edge
from tests.integration.edge_world import EdgeWorld, client, digest, report_of
from tests.integration.pki import Pki
from weir.api.v1 import planner_pb2
from weir.domain.errors import CredentialsError

READS: list[tuple[str, Any]] = [
    ("Status", planner_pb2.StatusRequest()),
    ("Health", planner_pb2.HealthRequest()),
    ("Explain", planner_pb2.ExplainRequest(pool_id="a")),
    ("WhatIf", planner_pb2.WhatIfRequest()),
]
CHANGES: list[tuple[str, Any]] = [
    ("SetBudget", planner_pb2.SetBudgetRequest(gpus=4)),
    ("SetSlo", planner_pb2.SetSloRequest(class_name="chat")),
    ("Freeze", planner_pb2.FreezeRequest(pool_id="a")),
    ("Drain", planner_pb2.DrainRequest(pool_id="a")),
    ("Approve", planner_pb2.ApproveRequest(proposal_id="1")),
]
DEMO = Path(__file__).parents[2] / "examples/fleets/demo.yaml"
NOT_OFFERED = "UNIMPLEMENTED"
"""What a call comes to that has got past the door, in a world without operations."""


@pytest.fixture
def identities(tmp_path: Path) -> Path:
    path = tmp_path / "identities.yaml"
    path.write_text(
        f"- {{name: of-a, token_sha256: {digest('token-a')}, pools: [a]}}\n"
        f"- {{name: ops, token_sha256: {digest('token-ops')}, operator: true}}\n"
    )
    return path


@pytest.fixture
def world() -> EdgeWorld:
    return EdgeWorld()


@pytest.fixture
async def edge(world: EdgeWorld, identities: Path) -> AsyncIterator[Edge]:
    async with world.serving(identities=str(identities)) as edge:
        yield edge


async def test_a_pool_reports_for_itself_only(world: EdgeWorld, edge: Edge, tmp_path: Path) -> None:
    async with client(edge, token="token-a", folder=tmp_path) as caller:
        answer = await caller.call("Report", report_of("a", 1))
        assert answer.newest_sequence == 1
        code, details = await caller.refusal("Report", report_of("b", 1))
    assert code == "PERMISSION_DENIED"
    assert details == "of-a may not report for pool 'b'"
    assert world.refused("forbidden") == 1
    assert world.planner.newest_sequence("b") == 0  # type: ignore[arg-type]


async def test_a_stream_ends_at_the_first_report_for_somebody_else(
    edge: Edge, tmp_path: Path
) -> None:
    async with client(edge, token="token-a", folder=tmp_path) as caller:
        stream = caller.stream("ReportStream")
        await stream.write(report_of("a", 1))
        assert (await stream.read()).pool_id == "a"
        await stream.write(report_of("b", 1))
        assert await stream.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("token", [None, "wrong", digest("token-a"), "token-a2"])
async def test_nobody_gets_nothing(
    world: EdgeWorld, edge: Edge, tmp_path: Path, token: str | None
) -> None:
    async with client(edge, token=token, folder=tmp_path) as caller:
        for method, request in [("Report", report_of("a", 1)), *READS, *CHANGES]:
            assert (await caller.refusal(method, request))[0] == "UNAUTHENTICATED"
        for stream in (
            caller.stream("ReportStream"),
            caller.stream("WatchPlan", planner_pb2.WatchPlanRequest()),
        ):
            assert await stream.code() is grpc.StatusCode.UNAUTHENTICATED
    assert world.refused("unauthenticated") == 1


async def test_several_tokens_are_none(edge: Edge, tmp_path: Path) -> None:
    async with client(edge) as caller:
        call = caller.stub.Status(
            planner_pb2.StatusRequest(),
            timeout=20.0,
            metadata=(("authorization", "Bearer token-a"), ("authorization", "Bearer token-ops")),
        )
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_whoever_is_known_reads_and_only_operators_change(edge: Edge, tmp_path: Path) -> None:
    async with client(edge, token="token-a", folder=tmp_path) as pool:
        assert (await pool.status()).leading
        assert (await pool.call("Health", planner_pb2.HealthRequest())).term == 7
        for method, request in CHANGES:
            assert (await pool.refusal(method, request))[0] == "PERMISSION_DENIED"
    async with client(edge, token="token-ops", folder=tmp_path) as operator:
        assert (await operator.status()).leading
        for method, request in CHANGES:
            assert (await operator.refusal(method, request))[0] == NOT_OFFERED


async def test_identities_and_tokens_can_be_renewed_while_it_runs(
    world: EdgeWorld, identities: Path, tmp_path: Path
) -> None:
    async with (
        world.serving(identities=str(identities)) as edge,
        client(edge, token="token-a", folder=tmp_path) as caller,
    ):
        await caller.call("Report", report_of("a", 1))
        identities.write_text(f"- {{name: a, token_sha256: {digest('renewed')}, pools: [a]}}\n")
        async with asyncio.timeout(30.0):
            while True:
                try:
                    await caller.call("Report", report_of("a", 2))
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
                    break
                await asyncio.sleep(0.1)
        (tmp_path / f"token-{digest('token-a')[:8]}").write_text("renewed\n")
        assert (await caller.call("Report", report_of("a", 3))).newest_sequence == 3


@pytest.mark.needs("openssl")
class TestCertificates:
    @pytest.fixture
    def pki(self, tmp_path: Path) -> Pki:
        return Pki(tmp_path)

    def settings(self, pki: Pki, tmp_path: Path, **changes: str) -> dict[str, Any]:
        server = pki.pair("server", san="IP:127.0.0.1,DNS:localhost")
        path = tmp_path / "by-subject.yaml"
        path.write_text(
            "- {name: planner-a, subject: planner-a.example.org, pools: [a]}\n"
            "- {name: ops, subject: ops, operator: true}\n"
        )
        known = {"tls_cert": server.cert, "tls_key": server.key, "client_ca": pki.ca}
        settings = {name: str(file) for name, file in known.items()}
        return settings | {"identities": str(path)} | changes

    async def test_a_pool_is_known_by_its_certificate(
        self, world: EdgeWorld, pki: Pki, tmp_path: Path
    ) -> None:
        mine = pki.pair("a", san="DNS:planner-a.example.org")
        async with (
            world.serving(**self.settings(pki, tmp_path)) as edge,
            client(edge, ca=pki.ca, cert=mine.cert, key=mine.key) as caller,
        ):
            assert (await caller.call("Report", report_of("a", 1))).newest_sequence == 1
            code, details = await caller.refusal("Report", report_of("b", 1))
            assert (code, details) == (
                "PERMISSION_DENIED",
                "planner-a may not report for pool 'b'",
            )
            code, _ = await caller.refusal("SetBudget", planner_pb2.SetBudgetRequest())
            assert code == "PERMISSION_DENIED"

    async def test_the_common_name_counts_only_without_alternative_names(
        self, world: EdgeWorld, pki: Pki, tmp_path: Path
    ) -> None:
        plain = pki.pair("plain", cn="ops")
        other = pki.pair("other", cn="ops", san="DNS:somebody.else")
        async with world.serving(**self.settings(pki, tmp_path)) as edge:
            async with client(edge, ca=pki.ca, cert=plain.cert, key=plain.key) as caller:
                refusal = await caller.refusal("Drain", planner_pb2.DrainRequest(pool_id="a"))
                assert refusal[0] == NOT_OFFERED
            async with client(edge, ca=pki.ca, cert=other.cert, key=other.key) as caller:
                code, details = await caller.refusal("Status", planner_pb2.StatusRequest())
                assert (code, details) == ("UNAUTHENTICATED", "this certificate is not known here")

    async def test_who_is_not_certified_by_our_authority_does_not_get_through(
        self, world: EdgeWorld, pki: Pki, tmp_path: Path
    ) -> None:
        evil = Pki(tmp_path, "evil").pair("a", san="DNS:planner-a.example.org")
        async with world.serving(**self.settings(pki, tmp_path)) as edge:
            for files in ({"cert": evil.cert, "key": evil.key}, {}):
                async with client(edge, ca=pki.ca, **files) as caller:
                    code, _ = await caller.refusal("Report", report_of("a", 1))
                    assert code == "UNAVAILABLE"
            async with client(edge) as caller:
                assert (await caller.refusal("Report", report_of("a", 1)))[0] == "UNAVAILABLE"
        assert world.planner.newest_sequence("a") == 0  # type: ignore[arg-type]

    async def test_a_client_refuses_a_server_that_is_not_its_authoritys(
        self, world: EdgeWorld, pki: Pki, tmp_path: Path
    ) -> None:
        mine, evil = pki.pair("a", san="DNS:planner-a.example.org"), Pki(tmp_path, "evil")
        async with (
            world.serving(**self.settings(pki, tmp_path)) as edge,
            client(edge, ca=evil.ca, cert=mine.cert, key=mine.key) as caller,
        ):
            assert (await caller.refusal("Report", report_of("a", 1)))[0] == "UNAVAILABLE"

    async def test_tokens_work_over_tls_without_client_certificates(
        self, world: EdgeWorld, pki: Pki, identities: Path, tmp_path: Path
    ) -> None:
        settings = self.settings(pki, tmp_path, identities=str(identities))
        del settings["client_ca"]
        async with (
            world.serving(**settings) as edge,
            client(edge, ca=pki.ca, token="token-a", folder=tmp_path) as caller,
        ):
            assert (await caller.call("Report", report_of("a", 1))).newest_sequence == 1

    async def test_a_renewed_certificate_counts_for_new_connections(
        self, world: EdgeWorld, pki: Pki, tmp_path: Path
    ) -> None:
        mine = pki.pair("a", san="DNS:planner-a.example.org")
        settings = self.settings(pki, tmp_path)
        async with world.serving(**settings) as edge:
            renewed = Pki(tmp_path, "renewed")
            server = renewed.pair("server", san="IP:127.0.0.1")
            Path(settings["tls_key"]).write_bytes(server.key.read_bytes())
            Path(settings["tls_cert"]).write_bytes(server.cert.read_bytes())
            async with client(edge, ca=renewed.ca, cert=mine.cert, key=mine.key) as caller:
                assert (await caller.call("Report", report_of("a", 1))).newest_sequence == 1

    def test_a_key_of_another_certificate_is_refused_at_the_start(
        self, pki: Pki, tmp_path: Path
    ) -> None:
        settings = self.settings(pki, tmp_path, tls_key=str(pki.pair("x").key))
        entrance = entrance_of(GlobalPlannerConfig(nats="nats://none", **settings))
        assert entrance.tls is not None
        with pytest.raises(CredentialsError, match=r"cannot use certificate .*server\.pem"):
            entrance.tls.credentials()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"listen": "0.0.0.0:0"}, "give --identities FILE, or listen on 127.0.0.1"),
        ({"listen": "planner.example.org:7000"}, "everybody"),
        ({"listen": "0.0.0.0:0", "identities": "FILE"}, "give --tls-cert and --tls-key"),
        ({"tls_cert": "cert.pem"}, "both --tls-cert and --tls-key"),
        ({"client_ca": "ca.pem"}, "--client-ca needs --tls-cert"),
        ({"identities": "nowhere.yaml"}, "nowhere.yaml: cannot be read"),
    ],
)
def test_what_would_let_in_who_should_not_does_not_start(
    settings: dict[str, Any], words: str, identities: Path
) -> None:
    named = {key: value.replace("FILE", str(identities)) for key, value in settings.items()}
    with pytest.raises(CredentialsError) as caught:
        entrance_of(GlobalPlannerConfig(nats="nats://none", **named))
    assert words in str(caught.value)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "127.3.2.1:0"])
def test_this_machine_may_be_open(listen: str) -> None:
    entrance_of(GlobalPlannerConfig(nats="nats://none", listen=listen))


def test_insecure_starts_but_says_so_loudly(caplog: pytest.LogCaptureFixture) -> None:
    config = GlobalPlannerConfig(nats="nats://none", listen="0.0.0.0:0", insecure=True)
    entrance_of(config)
    assert "INSECURE" in caplog.text
    assert "everybody who reaches it may move GPUs" in caplog.text


def test_subjects_need_an_authority(tmp_path: Path) -> None:
    path = tmp_path / "identities.yaml"
    path.write_text("- {name: a, subject: a, pools: [a]}\n")
    with pytest.raises(CredentialsError, match="give --client-ca FILE"):
        entrance_of(GlobalPlannerConfig(nats="nats://none", identities=str(path)))
    assert IdentityFile(path).of(None, ["a"]) is not None


async def test_the_command_refuses_to_be_open_with_2(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "weir", "global-planner", "--fleet", str(DEMO)),
        *("--nats", "nats://127.0.0.1:1", "--listen", "0.0.0.0:0"),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60.0):
        _, err = await process.communicate()
    assert process.returncode == 2
    assert b"weir global-planner: cannot listen on 0.0.0.0:0 like this" in err
    assert b"give --identities FILE" in err
