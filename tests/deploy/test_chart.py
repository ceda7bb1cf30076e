"""The Helm chart: its values, the manifests that it renders, and a server with its settings."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

import dtrfast
from dtrfast.config import NAMES, Config
from tests.deploy.chart import FOLDER, VALUES, Chart, Manifests
from tests.e2e import certificates
from tests.e2e.programs import PROJECT, Program, ProgramFailed
from tests.e2e.registry import Registry

pytestmark = pytest.mark.deploy

# Settings that the chart makes of other values.
_OF_THE_CHART = {
    *("server.bind", "server.tls", "server.tls_cert", "server.tls_key"),
    *("server.external_url", "server.trusted_proxies", "store.data"),
}
_INGRESS = ("--set=ingress.enabled=true", "--set=ingress.hosts={registry.example}")
_NODE_PORT = ("--set=service.type=NodePort", "--set=externalUrl=https://registry.example")
_NAME = re.compile(r"[0-9a-z]([0-9a-z.-]*[0-9a-z])?")


@pytest.fixture(scope="module", params=["helm", "helm3"])
def chart(request: pytest.FixtureRequest, environment: Mapping[str, str]) -> Chart:
    return Chart.found(request.param, environment)


def named(name: str) -> Path:
    return FOLDER / "ci" / f"{name}-values.yaml"


def value(name: str) -> str:
    return f"--values={named(name)}"


# ---- any values ----------------------------------------------------------------------------------
def test_each_set_of_values_passes_helm_and_kubernetes(chart: Chart) -> None:
    assert [path.name.removesuffix("-values.yaml") for path in VALUES] == [
        *("everything", "gateway", "ingress", "loadbalancer")
    ]
    for options in ((), *((f"--values={path}",) for path in VALUES)):
        chart.lint(*options)
        hangs_together(chart.render(*options))


def hangs_together(manifests: Manifests) -> None:
    """Check what Kubernetes checks, but no type says: names that point to each other."""
    pod, container = manifests.pod, manifests.container
    spec = manifests.one("StatefulSet")["spec"]
    labels = spec["template"]["metadata"]["labels"]
    service = manifests.one("Service")
    for selector in (spec["selector"]["matchLabels"], service["spec"]["selector"]):
        assert selector
        assert selector.items() <= labels.items()
    assert spec["serviceName"] == service["metadata"]["name"]
    volumes = [volume["name"] for volume in pod["volumes"]]
    mounts = [mount["name"] for mount in container["volumeMounts"]]
    assert sorted(mounts) == sorted(set(volumes))
    [port] = container["ports"]
    assert [one["targetPort"] for one in service["spec"]["ports"]] == [port["name"]]
    assert manifests.one("ConfigMap")["metadata"]["name"] in json.dumps(pod["volumes"])
    environment = {one["name"]: one.get("value") for one in container["env"]}
    listens = environment["DTRFAST_SERVER_BIND"]
    assert listens in {f"{host}:{port['containerPort']}" for host in ("0.0.0.0", "[::]")}
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert environment["DTRFAST_CONFIG"] in mounted
    data = Path(environment["DTRFAST_STORE_DATA"] or "")
    assert str(data.parent) in mounted
    assert {"server.bind", "store.data"}.isdisjoint(
        f"{section}.{field}"
        for section, fields in tomllib.loads(manifests.settings).items()
        for field in fields
    )


def test_the_pod_fits_to_the_image(chart: Chart) -> None:
    """Variables of the image that the chart does not set would override its settings file."""
    text = (PROJECT / "deploy" / "Containerfile").read_text()
    manifests = chart.render("--set=settings.server.tls_client_ca=/etc/authorities/ca.crt")
    of_chart = {one["name"] for one in manifests.container["env"]}
    of_image = set(re.findall(r"^(?:ENV)?\s+(DTRFAST_\w+)=", text, re.MULTILINE))
    assert of_image
    assert of_image <= of_chart
    assert f"USER {manifests.pod['securityContext']['runAsUser']}:" in text
    assert f"VOLUME {manifests.container['volumeMounts'][0]['mountPath']}" in text.splitlines()
    check = manifests.container["livenessProbe"]["exec"]["command"]
    assert json.dumps(check[:-1]) in text


def test_a_pod_has_one_data_directory_and_few_rights(chart: Chart) -> None:
    for options in ((), (value("everything"),)):
        manifests = chart.render(*options)
        pod, container = manifests.pod, manifests.container
        assert manifests.one("StatefulSet")["spec"]["replicas"] == 1
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert manifests.one("ServiceAccount")["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["fsGroup"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        settings = tomllib.loads(manifests.settings)["server"]
        stop = settings.get("graceful_stop_seconds", Config().server.graceful_stop_seconds)
        assert pod["terminationGracePeriodSeconds"] > stop + 15
    assert pod["terminationGracePeriodSeconds"] == 130


def test_names_of_any_length_are_names(chart: Chart) -> None:
    long = "r" * 53
    for options in (f"--set=fullnameOverride={'n' * 80}", f"--set=nameOverride={'x' * 80}", ""):
        text = chart.helm.run("template", long, FOLDER, *filter(None, [options]))
        objects = json.loads(chart.check.run(text=text))
        for one in objects:
            assert len(one["metadata"]["name"]) <= 63
            assert _NAME.fullmatch(one["metadata"]["name"])
            assert all(len(label) <= 63 for label in one["metadata"]["labels"].values())
        # The controller adds a dash and a hash of ten characters in a label of the pod.
        assert len(Manifests(objects).one("StatefulSet")["metadata"]["name"]) <= 52


# ---- values that are refused ---------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--set=replicaCount=2"], "/replicaCount"),
        (["--set=replicas=1"], "replicas"),
        (["--set=persistence.accessMode=ReadWriteMany"], "/persistence/accessMode"),
        (["--set=settings.server.bind=:80"], "bind"),
        (["--set=settings.server.worker=1"], "worker"),
        (["--set=settings.log.access=often"], "/settings/log/access"),
        (["--set=image.repository=registry.example/dtrfast:latest"], "/image/repository"),
        (["--set=externalUrl=registry.example"], "/externalUrl"),
        (["--set=trustedProxies={pods}"], "/trustedProxies/0"),
        (_INGRESS, "trustedProxies is empty"),
        (["--set=ingress.enabled=true", "--set=trustedProxies={10.0.0.0/8}"], "ingress.hosts"),
        (["--set=httpRoute.enabled=true", "--set=trustedProxies={10.0.0.0/8}"], "parentRefs"),
        (["--set=settings.server.proxy_protocol=required"], "trustedProxies is empty"),
        (["--set=tls.enabled=true"], "tls.existingSecret"),
        (["--set=tls.existingSecret=registry-tls"], "tls.enabled"),
        (["--set=service.type=LoadBalancer"], "without TLS"),
        (["--set=service.type=NodePort", "--set=externalUrl=http://r.example"], "without TLS"),
        (["--set=service.nodePort=30443"], "service.nodePort needs"),
        (["--set=service.externalTrafficPolicy=Local"], "service.externalTrafficPolicy needs"),
        (
            [*_NODE_PORT, "--set=service.loadBalancerSourceRanges={192.0.2.0/24}"],
            "service.loadBalancerSourceRanges needs",
        ),
    ],
    ids=lambda given: " ".join(given).replace("--set=", "") if isinstance(given, list) else "",
)
def test_values_that_cannot_work_are_refused(chart: Chart, options: list[str], reason: str) -> None:
    with pytest.raises(ProgramFailed, match=re.escape(reason)):
        chart.text(*options)


def test_a_balancer_that_terminates_tls_may_use_the_plain_port(chart: Chart) -> None:
    spec = chart.render(*_NODE_PORT, "--set=service.nodePort=30443").one("Service")["spec"]
    assert (spec["type"], spec["ports"][0]["nodePort"]) == ("NodePort", 30443)


def test_the_schema_knows_every_setting_and_every_value(chart: Chart) -> None:
    schema = json.loads((FOLDER / "values.schema.json").read_text())
    sections = schema["properties"]["settings"]["properties"]
    known = {
        f"{section}.{field}"
        for section, fields in sections.items()
        for field in fields["properties"]
    }
    assert known == set(NAMES) - _OF_THE_CHART
    defaults = chart.helm.run("show", "values", FOLDER)
    names = re.findall(r"^(\w+):", defaults, re.MULTILINE)
    assert set(names) == set(schema["properties"]) - {"global"}
    used = "".join(path.read_text() for path in (FOLDER / "templates").iterdir())
    assert [name for name in names if f".Values.{name}" not in used] == []


def test_the_chart_is_of_this_version(chart: Chart) -> None:
    shown = chart.helm.run("show", "chart", FOLDER)
    assert f"appVersion: {dtrfast.__version__}" in shown.splitlines()


# ---- kinds of addresses --------------------------------------------------------------------------
def test_an_ingress_names_the_address_and_limits_no_body(chart: Chart) -> None:
    manifests = chart.render(value("ingress"))
    ingress = manifests.one("Ingress")
    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == "0"
    assert annotations["nginx.ingress.kubernetes.io/proxy-request-buffering"] == "off"
    assert not any("backend-protocol" in name for name in annotations)
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["spec"]["tls"] == [{"hosts": ["registry.example"], "secretName": "registry-tls"}]
    [rule] = ingress["spec"]["rules"]
    [path] = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/", "Prefix")
    service = manifests.one("Service")
    assert path["backend"]["service"] == {
        "name": service["metadata"]["name"],
        "port": {"name": service["spec"]["ports"][0]["name"]},
    }
    assert service["spec"]["ports"][0]["appProtocol"] == "http"
    server = tomllib.loads(manifests.settings)["server"]
    assert server["external_url"] == "https://registry.example"
    assert server["tls"] == "off"
    assert server["trusted_proxies"] == [
        *Config().server.trusted_proxies,
        *("10.244.0.0/16", "fd00:10:244::/56"),
    ]
    plain = chart.render(*_INGRESS, "--set=trustedProxies={10.244.0.0/16}")
    assert tomllib.loads(plain.settings)["server"]["external_url"] == "http://registry.example"


def test_a_route_of_a_gateway_has_no_timeout_and_drops_a_forged_header(chart: Chart) -> None:
    manifests = chart.render(value("gateway"))
    assert "Ingress" not in manifests.kinds
    spec = manifests.one("HTTPRoute")["spec"]
    assert spec["parentRefs"] == [
        {"name": "public", "namespace": "gateways", "sectionName": "https"}
    ]
    assert spec["hostnames"] == ["registry.example"]
    [rule] = spec["rules"]
    assert rule["timeouts"] == {"request": "0s"}
    without = chart.render(value("gateway"), "--set=httpRoute.timeouts=null").one("HTTPRoute")
    assert "timeouts" not in without["spec"]["rules"][0]
    assert rule["filters"] == [
        {
            "type": "RequestHeaderModifier",
            "requestHeaderModifier": {"remove": ["Forwarded"]},
        }
    ]
    service = manifests.one("Service")
    assert rule["backendRefs"] == [
        {"name": service["metadata"]["name"], "port": service["spec"]["ports"][0]["port"]}
    ]
    server = tomllib.loads(manifests.settings)["server"]
    assert server["external_url"] == "https://registry.example"


def test_everything_that_can_be_set_arrives(chart: Chart) -> None:
    manifests = chart.render(value("everything"))
    assert manifests.kinds == [
        *("ConfigMap", "HTTPRoute", "Ingress", "NetworkPolicy", "PersistentVolumeClaim"),
        *("Secret", "Service", "ServiceAccount", "StatefulSet"),
    ]
    pod, container = manifests.pod, manifests.container
    assert container["image"].startswith("images.example:5000/tools/dtrfast@sha256:e3b0c4")
    assert {"name": "DTRFAST_SERVER_BIND", "value": "[::]:5000"} in container["env"]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["nodeSelector"] == {"disk": "fast"}
    assert pod["tolerations"] == [{"key": "registry", "operator": "Exists"}]
    assert pod["priorityClassName"] == "high"
    assert "nodeAffinity" in pod["affinity"]
    assert container["resources"]["limits"]["memory"] == "8Gi"
    assert {"name": "AWS_REGION", "value": "eu-central-1"} in container["env"]
    assert container["envFrom"] == [{"secretRef": {"name": "backup-bucket"}}]
    template = manifests.one("StatefulSet")["spec"]["template"]["metadata"]
    assert template["annotations"]["example.com/a"] == "b"
    assert template["labels"]["team"] == "tools"
    claim = manifests.one("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Ti"
    assert claim["metadata"]["annotations"] == {"example.com/backup": "daily"}
    policy = manifests.one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"][0]["from"][0]["namespaceSelector"]
    annotations = manifests.one("Ingress")["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/backend-protocol"] == "HTTPS"
    secret = manifests.one("Secret")
    assert secret["type"] == "kubernetes.io/tls"
    assert secret["data"].keys() == {"tls.crt", "tls.key"}
    port = manifests.one("Service")["spec"]["ports"][0]
    assert (port["appProtocol"], port["nodePort"]) == ("https", 30443)


def test_the_images_outlive_the_release(chart: Chart) -> None:
    claim = chart.render().one("PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    manifests = chart.render("--set=persistence.existingClaim=mine")
    assert "PersistentVolumeClaim" not in manifests.kinds
    claims = [v["persistentVolumeClaim"] for v in manifests.pod["volumes"] if v["name"] == "data"]
    assert claims == [{"claimName": "mine"}]


def test_only_a_change_of_settings_starts_the_pod_again(chart: Chart) -> None:
    def checksum(*options: str) -> str:
        template = chart.render(*options).one("StatefulSet")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/settings"])

    assert checksum() == checksum("--set=service.port=80")
    assert checksum() != checksum("--set=settings.log.format=json")


def test_a_pod_in_maintenance_has_the_data_and_no_server(chart: Chart) -> None:
    pod, usual = (chart.render(*options).container for options in (["--set=maintenance=true"], []))
    assert "startupProbe" in usual
    assert not [field for field in pod if field.endswith("Probe")]
    for field in ("image", "env", "volumeMounts", "securityContext"):
        assert pod[field] == usual[field]
    assert (usual["command"], usual["args"]) == (["dtrfast"], ["serve"])
    assert "args" not in pod
    # Nothing but the signal ends it, and that at once: the kubelet waits for no killed pod.
    process = subprocess.Popen(pod["command"], start_new_session=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    process.terminate()
    process.wait(10)
    os.killpg(process.pid, signal.SIGKILL)  # its `sleep`, which ends with the container in a pod


def test_the_pod_has_the_token_that_keyless_md_names(chart: Chart, tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "keyless.md").read_text()
    [values] = re.findall(r"```yaml\n(settings:\n.*?)```", page, re.DOTALL)
    (tmp_path / "values.yaml").write_text(values)
    manifests = chart.render(f"--values={tmp_path / 'values.yaml'}")
    [folder] = tomllib.loads(manifests.settings)["auth"]["token_file_directories"]
    [mount] = [one for one in manifests.container["volumeMounts"] if one["mountPath"] == folder]
    [volume] = [one for one in manifests.pod["volumes"] if one["name"] == mount["name"]]
    [source] = volume["projected"]["sources"]
    assert f'"bearerTokenFile": "{folder}/{source["serviceAccountToken"]["path"]}"' in page


# ---- a server ------------------------------------------------------------------------------------
@pytest.fixture
def started(
    chart: Chart, new_folder: Callable[[str], Path]
) -> Iterator[Callable[..., tuple[Registry, Manifests]]]:
    """A function that starts a server with the settings of rendered manifests."""
    servers: list[Registry] = []

    def start(*options: str) -> tuple[Registry, Manifests]:
        folder = new_folder("chart")
        manifests = chart.render(*options)
        secret = certificates.make(folder)
        text = manifests.settings
        for path, file in {"tls.crt": secret.chain, "tls.key": secret.key}.items():
            text = text.replace(f"/etc/dtrfast/tls/{path}", str(file))
        (folder / "dtrfast.toml").write_text(text)
        tls = secret if "tls_cert" in text else None
        settings = {"DTRFAST_CONFIG": str(folder / "dtrfast.toml")}
        servers.append(Registry(folder, tls, auth="managed", settings=settings))
        return servers[-1], manifests

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize("chart", ["helm"], indirect=True)
@pytest.mark.parametrize("values", ["ingress", "loadbalancer"])
def test_the_probes_get_answers_from_a_server_with_these_settings(
    started: Callable[..., tuple[Registry, Manifests]], values: str
) -> None:
    server, manifests = started(value(values))
    for kind, path in {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }.items():
        probe = manifests.container[kind]["httpGet"]
        assert probe["path"] == path
        assert probe["port"] == manifests.container["ports"][0]["name"]
        # The kubelet verifies no certificate.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"{probe['scheme'].lower()}://127.0.0.1:{server.port}{probe['path']}"
        assert httpx.get(url, verify=context).status_code == 200
    scheme = "https" if values == "loadbalancer" else "http"
    assert manifests.container["livenessProbe"]["httpGet"]["scheme"] == scheme.upper()
    realm = httpx.get(f"{scheme}://127.0.0.1:{server.port}/v2/", verify=context)
    assert 'realm="https://registry.example/auth/token"' in realm.headers["www-authenticate"]


def test_probes_run_the_image_s_own_check_where_the_kubelet_cannot_ask(chart: Chart) -> None:
    for options in (
        ["--set=settings.server.proxy_protocol=required", "--set=trustedProxies={10.0.0.0/8}"],
        ["--set=settings.server.tls_client_ca=/etc/authorities/ca.crt"],
    ):
        for kind in ("startup", "liveness", "readiness"):
            probe: dict[str, Any] = chart.render(*options).container[f"{kind}Probe"]
            path = "/readyz" if kind == "readiness" else "/healthz"
            assert probe["exec"]["command"][-2:] == ["/opt/dtrfast/healthcheck.py", path]
            assert "httpGet" not in probe


@pytest.mark.parametrize("chart", ["helm"], indirect=True)
def test_the_settings_of_each_example_start_a_server(
    chart: Chart, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """`config check` reads them as a server does."""
    dtrfast_command = Program(sys.executable, {**environment, "PYTHONPATH": str(PROJECT)})
    for path in VALUES:
        file = tmp_path / f"{path.stem}.toml"
        text = chart.render(f"--values={path}").settings
        pair = certificates.make(tmp_path)
        text = text.replace("/etc/dtrfast/tls/tls.crt", str(pair.chain))
        text = text.replace("/etc/dtrfast/tls/tls.key", str(pair.key))
        file.write_text(text)
        dtrfast_command.run("-m", "dtrfast", "config", "check", "--config", file)


# ---- what a user reads ---------------------------------------------------------------------------
@pytest.mark.parametrize("page", ["docs/install.md", "deploy/helm/dtrfast/README.md"])
def test_the_commands_of_the_manual_render(chart: Chart, page: str) -> None:
    text = (PROJECT / page).read_text().replace("\\\n", "")
    commands = re.findall(r"^    helm install (\S+) \S+ (.*)$", text, re.MULTILINE)
    assert len(commands) == 2
    for name, options in commands:
        assert name == "registry"
        given = [one for one in shlex.split(options) if one != "--create-namespace"]
        manifests = chart.render(*given)
        server = tomllib.loads(manifests.settings)["server"]
        assert server["external_url"] == "https://registry.example"
        # A cluster that pulls the image from this registry could not start it.
        assert not manifests.container["image"].startswith("registry.example")


# Helm 3 shows notes only with a cluster.
@pytest.mark.parametrize("chart", ["helm"], indirect=True)
def test_the_notes_say_how_to_get_in(chart: Chart) -> None:
    notes = chart.notes("--set=maintenance=true")
    assert "-- dtrfast rollback" in notes
    assert "maintenance=false" in notes
    assert "docker login" not in notes
    notes = chart.notes()
    assert "MAINTENANCE" not in notes
    assert "rollout status statefulset/r-dtrfast" in notes
    assert "NO REGISTRY has the image localhost/dtrfast" in notes
    assert "port-forward service/r-dtrfast 5000:5000" in notes
    assert "kubectl -n images exec statefulset/r-dtrfast -- dtrfast user reset-password" in notes
    assert "The claim r-dtrfast has all images." in notes
    notes = chart.notes(value("ingress"))
    assert "NO REGISTRY" not in notes
    assert "docker login registry.example --username admin" in notes
    assert "NO TLS" not in notes
    notes = chart.notes(*_INGRESS, "--set=trustedProxies={10.244.0.0/16}")
    assert "THIS ADDRESS HAS NO TLS" in notes
    notes = chart.notes("--set=settings.auth.mode=none")
    assert "ANY CLIENT" in notes
    assert "reset-password" not in notes
