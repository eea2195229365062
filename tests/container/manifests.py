"""Turns the example's manifests into what podman runs, so that the files people copy are the files that are tested.

    manifests.py pod kubernetes.yaml --token FILE --tenant ID
        the StatefulSet's pod for `podman kube play`, with what a cluster adds to it: the kubelet's variable, the
        webhook's variables and token (by the label and the annotation, as the webhook itself goes), the claim's volume
    manifests.py run compose.yaml
        the service's settings as arguments of `podman run`, one a line
    manifests.py health compose.yaml
        the health check's command, one word a line

Both add the trust for the stand-in's certificates (--ca FILE). What they cannot say to podman they leave out, each with
its reason below; a setting they do not know is an error, so that nothing in the examples goes untested unnoticed.
"""

import argparse
import json
import os
import re
import sys

import yaml

TOKEN = "/var/run/secrets/azure/tokens/azure-identity-token"
CA = "/etc/test-ca.pem"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["pod", "run", "health"])
    parser.add_argument("file")
    parser.add_argument("--ca")
    parser.add_argument("--token")
    parser.add_argument("--tenant")
    options = parser.parse_args()
    with open(options.file, encoding="utf-8") as file:
        documents = list(yaml.safe_load_all(file))
    if options.what == "pod":
        json.dump(pod(documents, options), sys.stdout, indent=1)
    else:
        (document,) = documents
        (service,) = document["services"].values()
        words = run(service, options) if options.what == "run" else health(service)
        sys.stdout.writelines(word + "\n" for word in words)


def pod(documents, options):
    kinds = {document["kind"]: document for document in documents}
    stateful_set, account = kinds["StatefulSet"]["spec"], kinds["ServiceAccount"]
    template = stateful_set["template"]
    labels, spec = template["metadata"]["labels"], template["spec"]
    name = kinds["StatefulSet"]["metadata"]["name"] + "-0"

    if stateful_set["selector"]["matchLabels"].items() - labels.items():
        sys.exit("the StatefulSet's selector does not match its pod")
    if kinds["Service"]["spec"]["selector"].items() - labels.items():
        sys.exit("the Service's selector does not match the pod")
    if spec["serviceAccountName"] != account["metadata"]["name"]:
        sys.exit("the pod's service account is not the one in the file")

    (container,) = spec["containers"]
    environment = container["env"]
    # The kubelet, in every container; `enableServiceLinks: false` does not concern it.
    environment.append({"name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.1"})
    # The webhook, where the label asks for it.
    if labels.get("azure.workload.identity/use") == "true":
        client = account["metadata"]["annotations"]["azure.workload.identity/client-id"]
        environment += [
            {"name": "AZURE_CLIENT_ID", "value": client},
            {"name": "AZURE_TENANT_ID", "value": options.tenant},
            {"name": "AZURE_FEDERATED_TOKEN_FILE", "value": TOKEN},
            {"name": "AZURE_AUTHORITY_HOST", "value": "https://login.microsoftonline.com/"},
        ]
        mount(spec, container, "azure-identity-token", TOKEN, options.token)
    environment.append({"name": "SSL_CERT_FILE", "value": CA})
    mount(spec, container, "test-ca", CA, options.ca)
    for claim in stateful_set["volumeClaimTemplates"]:
        volume = claim["metadata"]["name"]
        spec["volumes"].append({"name": volume, "persistentVolumeClaim": {"claimName": f"{volume}-{name}"}})

    # podman joins a pod to a network namespace that exists only as its "host" network, ...
    spec["hostNetwork"] = True
    # ... where it takes no list of ports, ...
    del container["ports"]
    # ... and it makes probes into health checks that need systemd and an `nc` in the image.
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
        if list(container.pop(probe)["tcpSocket"]) != ["port"]:
            sys.exit(f"the {probe} is not a plain tcpSocket")
    # A container that ends is looked at, not started again.
    spec["restartPolicy"] = "Never"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def mount(spec, container, name, path, source):
    spec["volumes"].append({"name": name, "hostPath": {"path": source, "type": "File"}})
    container["volumeMounts"].append({"name": name, "mountPath": path, "readOnly": True})


def run(service, options):
    service = dict(service)
    for name, value in service.pop("environment").items():
        yield f"--env={name}={substitute(value)}"
    yield f"--env=SSL_CERT_FILE={CA}"
    yield f"--volume={options.ca}:{CA}:ro"
    for setting in ["cap_drop", "cap_add", "tmpfs", "volumes"]:
        option = {"volumes": "volume"}.get(setting, setting.replace("_", "-"))
        for value in service.pop(setting):
            yield f"--{option}={value}"
    for value in service.pop("security_opt"):
        # podman 4 knows the word without its value only.
        yield f"--security-opt={value.removesuffix(':true')}"
    yield f"--read-only={str(service.pop('read_only')).lower()}"
    yield f"--stop-timeout={service.pop('stop_grace_period').removesuffix('s')}"
    # Said by container.sh, which builds the image and shares one network among all containers; a container that ends
    # is looked at, not started again; the health check is run by hand (`health`).
    for setting in ["image", "build", "ports", "restart", "healthcheck"]:
        service.pop(setting)
    if service:
        sys.exit(f"no test for these settings of the service: {', '.join(service)}")


def health(service):
    kind, *command = service["healthcheck"]["test"]
    if kind != "CMD":
        sys.exit("the health check is not a CMD")
    return command


def substitute(value):
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: os.environ.get(match[1]) or match[2], value)


main()
