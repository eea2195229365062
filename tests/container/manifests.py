"""Turns the examples' manifests into what podman runs, so that the files people copy are the files that are tested.

    manifests.py pod MANIFEST --token FILE --tenant ID --volumes DIR --memory DIR [--env NAME=VALUE] [--only INIT]
        the pod of the one workload in the manifest for `podman kube play`, with what a cluster adds to it: the
        kubelet's variable, the webhook's variables and token (by the label and the annotations, as the webhook itself
        goes), and the volumes, as DIR/POD/VOLUME; --only takes one init container for the whole pod
    manifests.py run compose.yaml
        the only service's settings as arguments of `podman run`, one a line
    manifests.py health compose.yaml
        the health check's command, one word a line

Both add the trust for the stand-in's certificates (--ca FILE). What they cannot say to podman they leave out, each with
its reason below; a setting they do not know is an error, so that nothing in the examples goes untested unnoticed.
"""

import argparse
import json
import os
import re
import shutil
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
    parser.add_argument("--volumes")
    parser.add_argument("--memory")
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--only")
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
    account = kinds.pop("ServiceAccount")
    service = kinds.pop("Service", None)
    config_map = kinds.pop("ConfigMap", None)
    ((kind, workload),) = kinds.items()
    template = workload["spec"]["template"]
    labels, spec = template["metadata"]["labels"], template["spec"]
    annotations = template["metadata"].get("annotations", {})
    # A StatefulSet's pod has this name, the others' something longer.
    name = workload["metadata"]["name"] + "-0"

    if workload["spec"].get("selector", {}).get("matchLabels", {}).items() - labels.items():
        sys.exit(f"the {kind}'s selector does not match its pod")
    if service and service["spec"]["selector"].items() - labels.items():
        sys.exit("the Service's selector does not match the pod")
    if spec["serviceAccountName"] != account["metadata"]["name"]:
        sys.exit("the pod's service account is not the one in the file")

    skipped = annotations.get("azure.workload.identity/skip-containers", "").split(";")
    # podman has no sidecars: it would wait for the end of one. It starts the other containers in their order.
    sidecars = [c for c in spec.get("initContainers", []) if c.pop("restartPolicy", None) == "Always"]
    spec["initContainers"] = [c for c in spec.get("initContainers", []) if c not in sidecars]
    spec["containers"] = sidecars + spec["containers"]
    containers = spec["initContainers"] + spec["containers"]
    if set(skipped) - {""} - {container["name"] for container in containers}:
        sys.exit("the webhook is to skip a container that is none")
    if options.only:
        spec["containers"] = containers = [c for c in spec.pop("initContainers") if c["name"] == options.only]
    options.volumes, options.memory = (os.path.join(parent, name) for parent in [options.volumes, options.memory])
    make_volumes(workload, options)
    os.makedirs(options.volumes, exist_ok=True)
    for container in containers:
        environment = container.setdefault("env", [])
        for source in container.pop("envFrom", []):
            if source != {"configMapRef": {"name": config_map["metadata"]["name"]}}:
                sys.exit("the variables are not those of the ConfigMap")
            environment += [{"name": name, "value": value} for name, value in config_map["data"].items()]
        # The kubelet, in every container; `enableServiceLinks: false` does not concern it.
        environment.append({"name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.1"})
        # The webhook, where the label asks for it.
        if labels.get("azure.workload.identity/use") == "true" and container["name"] not in skipped:
            client = account["metadata"]["annotations"]["azure.workload.identity/client-id"]
            environment += [
                {"name": "AZURE_CLIENT_ID", "value": client},
                {"name": "AZURE_TENANT_ID", "value": options.tenant},
                {"name": "AZURE_FEDERATED_TOKEN_FILE", "value": TOKEN},
                {"name": "AZURE_AUTHORITY_HOST", "value": "https://login.microsoftonline.com/"},
            ]
            mount(spec, container, "azure-identity-token", TOKEN, project(spec, containers, options))
        environment.append({"name": "SSL_CERT_FILE", "value": CA})
        mount(spec, container, "test-ca", CA, options.ca)
        for variable in options.env:
            variable, value = variable.split("=", 1)
            environment.append({"name": variable, "value": value})
        # podman joins a pod to a network namespace that exists only as its "host" network, where it takes no list of
        # ports, ...
        container.pop("ports", None)
        # ... and it makes probes into health checks that need systemd and an `nc` in the image.
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
            if list(container.pop(probe, {}).get("tcpSocket", ["port"])) != ["port"]:
                sys.exit(f"the {probe} is not a plain tcpSocket")
    spec["hostNetwork"] = True
    # A container that ends is looked at, not started again.
    spec["restartPolicy"] = "Never"
    # podman does not know fsGroup: the volumes have it already (below), and this gives it to the processes.
    if "fsGroup" in spec["securityContext"]:
        spec["securityContext"]["supplementalGroups"] = [spec["securityContext"]["fsGroup"]]
    metadata = {"name": name, "labels": labels}
    # Or podman removes an init container that has ended, and does not run it again when the pod is started again.
    metadata["annotations"] = {"io.podman.annotations.init.container.type": "always"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def make_volumes(workload, options):
    """As the kubelet does it: for everybody, or for the group that the pod has for its volumes."""
    spec = workload["spec"]["template"]["spec"]
    volumes = spec.setdefault("volumes", [])
    for claim in workload["spec"].get("volumeClaimTemplates", []):
        volumes.append({"name": claim["metadata"]["name"], "claim": True})
    group = spec["securityContext"].get("fsGroup")
    for volume in volumes:
        kind = volume.get("emptyDir")
        if kind is None and not volume.pop("claim", False):
            sys.exit(f"no test for a volume as {volume['name']} is")
        volume.pop("emptyDir", None)
        # podman 4 makes a directory on the disk of every emptyDir.
        parent = options.memory if kind and kind.get("medium") == "Memory" else options.volumes
        path = os.path.join(parent, volume["name"])
        os.makedirs(path, exist_ok=True)
        if group is None:
            os.chmod(path, 0o777 if kind is not None else 0o755)
        else:
            os.chown(path, 0, group)
            os.chmod(path, 0o2777 if kind is not None else 0o2775)
        volume["hostPath"] = {"path": path, "type": "Directory"}


def project(spec, containers, options):
    """The token as the kubelet projects it: for the pod's group, or its only user, or else for everybody."""
    path = os.path.join(options.volumes, "azure-identity-token")
    context = spec["securityContext"]
    users = {c.get("securityContext", {}).get("runAsUser", context.get("runAsUser")) for c in containers}
    only = users.pop() if len(users) == 1 else None
    group = context.get("fsGroup")
    shutil.copyfile(options.token, path)
    os.chown(path, only or 0, group or 0)
    os.chmod(path, 0o640 if group is not None else 0o644 if only is None else 0o600)
    return path


def mount(spec, container, name, path, source):
    if name not in [volume["name"] for volume in spec["volumes"]]:
        spec["volumes"].append({"name": name, "hostPath": {"path": source, "type": "File"}})
    container.setdefault("volumeMounts", []).append({"name": name, "mountPath": path, "readOnly": True})


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
