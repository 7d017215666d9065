"""Kubernetes manifests as `kubectl kustomize` renders them, for the fields that our kustomizations use.

Any other field is an error, so that none is ignored. Where kubectl is installed, a test compares the two.
"""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
_FIELDS = {
    *("apiVersion", "kind", "resources", "labels", "configMapGenerator", "secretGenerator", "generatorOptions"),
    *("images", "patches"),
}
_WITH_PODS = {"Job", "Deployment", "StatefulSet"}


def render(folder: Path) -> list[Manifest]:
    """Return the manifests of a kustomization, in no particular order.

    Raises:
        ValueError: it uses a field that this renderer does not know.
    """
    document = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    if unknown := set(document) - _FIELDS:
        raise ValueError(f"{folder}/kustomization.yaml: not known here: {', '.join(sorted(unknown))}")
    if document.get("generatorOptions") != {"disableNameSuffixHash": True}:
        raise ValueError(f"{folder}/kustomization.yaml: generatorOptions differ from those known here")
    rendered = [manifest for name in document["resources"] for manifest in _resource(folder / name)]
    for generator in document.get("configMapGenerator", []):
        _config_map(rendered, generator)
    for generator in document.get("secretGenerator", []):
        rendered.append(_secret(folder, generator))
    for entry in document.get("labels", []):
        _label(rendered, entry)
    for entry in document.get("images", []):
        _rename(rendered, entry)
    for entry in document.get("patches", []):
        _patch(rendered, entry)
    return rendered


def _resource(path: Path) -> list[Manifest]:
    if path.is_dir():
        return render(path)
    return [manifest for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")) if manifest is not None]


def _config_map(rendered: list[Manifest], generator: Manifest) -> None:
    literals = dict(literal.split("=", 1) for literal in generator["literals"])
    if set(generator) == {"name", "literals"}:
        metadata = {"name": generator["name"]}
        rendered.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": literals})
    elif set(generator) == {"name", "literals", "behavior"} and generator["behavior"] == "merge":
        one_of(rendered, "ConfigMap", generator["name"])["data"].update(literals)
    else:
        raise ValueError(f"configMapGenerator: not known here: {generator}")


def _secret(folder: Path, generator: Manifest) -> Manifest:
    if set(generator) != {"name", "envs"}:
        raise ValueError(f"secretGenerator: not known here: {generator}")
    lines = [line for name in generator["envs"] for line in (folder / name).read_text(encoding="utf-8").splitlines()]
    values = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": generator["name"]}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}


def _label(rendered: list[Manifest], entry: Manifest) -> None:
    if set(entry) != {"pairs", "includeTemplates"} or entry["includeTemplates"] is not True:
        raise ValueError(f"labels: not known here: {entry}")
    for manifest in rendered:
        manifest["metadata"].setdefault("labels", {}).update(entry["pairs"])
        if manifest["kind"] in _WITH_PODS:
            metadata = manifest["spec"]["template"].setdefault("metadata", {})
            metadata.setdefault("labels", {}).update(entry["pairs"])


def _rename(rendered: list[Manifest], entry: Manifest) -> None:
    if set(entry) != {"name", "newName", "newTag"}:
        raise ValueError(f"images: not known here: {entry}")
    for _, container in containers(rendered):
        if container["image"].partition(":")[0] == entry["name"]:
            container["image"] = f"{entry['newName']}:{entry['newTag']}"


def _patch(rendered: list[Manifest], entry: Manifest) -> None:
    if set(entry) != {"target", "patch"} or set(entry["target"]) != {"kind", "name"}:
        raise ValueError(f"patches: not known here: {entry}")
    manifest = one_of(rendered, **entry["target"])
    for step in yaml.safe_load(entry["patch"]):
        *way, last = step["path"].strip("/").split("/")
        part = manifest
        for key in way:
            part = part[key]
        if step["op"] != "replace" or last not in part:
            raise ValueError(f"patches: not known here: {step}")
        part[last] = step["value"]


def one_of(rendered: list[Manifest], kind: str, name: str) -> Manifest:
    (manifest,) = [item for item in rendered if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return manifest


def pods(rendered: list[Manifest]) -> dict[str, Manifest]:
    """Return the pod spec of every workload, by "Kind/name"."""
    return {
        f"{item['kind']}/{item['metadata']['name']}": item["spec"]["template"]["spec"]
        for item in rendered
        if item["kind"] in _WITH_PODS
    }


def containers(rendered: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Return every container, init containers included, by "Kind/name/container"."""
    for owner, pod in pods(rendered).items():
        for container in (*pod.get("initContainers", []), *pod["containers"]):
            yield f"{owner}/{container['name']}", container


def environment(rendered: list[Manifest], container: Manifest) -> dict[str, str]:
    """Return the variables of a container, from literals, ConfigMaps and Secrets.

    Raises:
        ValueError: a Secret or a key that the container needs is missing.
    """
    values: dict[str, str] = {}
    for source in container.get("envFrom", []):
        values.update(one_of(rendered, "ConfigMap", source["configMapRef"]["name"])["data"])
    for variable in container.get("env", []):
        if "value" in variable:
            values[variable["name"]] = variable["value"]
            continue
        secret = variable["valueFrom"]["secretKeyRef"]
        values[variable["name"]] = base64.b64decode(
            one_of(rendered, "Secret", secret["name"])["data"][secret["key"]]
        ).decode()
    return values


def command_line(container: Manifest, variables: dict[str, str], entrypoint: list[str]) -> list[str]:
    """Return the words that run: `command` replaces the image's entrypoint, and $(NAME) stands for a variable."""
    words = [*container.get("command", entrypoint), *container.get("args", [])]
    for name, value in variables.items():
        words = [word.replace(f"$({name})", value) for word in words]
    return words
