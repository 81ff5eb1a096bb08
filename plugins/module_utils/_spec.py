# Copyright (c) The k3s_ha.core authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a stable interface for others.

from __future__ import annotations

import typing as t

# The wish, key by key, as `k3s-core-ha plan --schema` has it; ranges are the helper's to check. A unit test compares.
SPEC_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "level": {"type": "str", "choices": ["auto", "none", "node", "zone"], "default": "auto"},
    "zone_label": {"type": "str", "default": "topology.kubernetes.io/zone"},
    "node_affinity": {"type": "dict"},
    "coredns_strategy": {
        "type": "str",
        "choices": ["autoscaling", "replicas", "daemonset", "custom", "helm", "packaged"],
        "default": "autoscaling",
    },
    "coredns_min_replicas": {"type": "int"},
    "coredns_max_replicas": {"type": "int"},
    "coredns_replicas": {"type": "int"},
    "coredns_daemonset_nodes": {"type": "str", "choices": ["control_plane", "all"], "default": "control_plane"},
    "coredns_cpu_utilization": {"type": "int", "default": 75},
    "coredns_traffic_distribution": {
        "type": "str",
        "choices": ["auto", "PreferSameNode", "PreferSameZone", "none"],
        "default": "auto",
    },
    "coredns_lameduck": {"type": "int"},
    "coredns_manifest": {"type": "list", "elements": "dict"},
    "coredns_image": {"type": "str"},
    "coredns_resources": {"type": "dict"},
    "coredns_tolerations": {"type": "list", "elements": "dict"},
    "coredns_chart": {"type": "dict"},
    "coredns_values": {"type": "dict"},
    "metrics_server_strategy": {
        "type": "str",
        "choices": ["replicas", "custom", "helm", "packaged"],
        "default": "replicas",
    },
    "metrics_server_replicas": {"type": "int"},
    "metrics_server_manifest": {"type": "list", "elements": "dict"},
    "metrics_server_image": {"type": "str"},
    "metrics_server_resources": {"type": "dict"},
    "metrics_server_tolerations": {"type": "list", "elements": "dict"},
    "metrics_server_chart": {"type": "dict"},
    "metrics_server_values": {"type": "dict"},
    "local_path_provisioner_strategy": {
        "type": "str",
        "choices": ["replicas", "custom", "helm", "packaged"],
        "default": "replicas",
    },
    "local_path_provisioner_replicas": {"type": "int"},
    "local_path_provisioner_image": {"type": "str"},
    "local_path_provisioner_resources": {"type": "dict"},
    "local_path_provisioner_tolerations": {"type": "list", "elements": "dict"},
    "local_path_provisioner_chart": {"type": "dict"},
    "local_path_provisioner_values": {"type": "dict"},
    "extra_deployments": {
        "type": "list",
        "elements": "dict",
        "options": {
            "namespace": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "replicas": {"type": "int"},
        },
    },
    "traefik_strategy": {"type": "str", "choices": ["helm", "packaged"], "default": "packaged"},
    "traefik_replicas": {"type": "int"},
    "traefik_values": {"type": "dict"},
    "wait_timeout": {"type": "int", "default": 300},
    "unreachable_counts_for": {"type": "int", "default": 604800},
}

# Every component left as k3s ships it: what `state: absent` asks for.
_PACKAGED: dict[str, str] = {
    "coredns_strategy": "packaged",
    "metrics_server_strategy": "packaged",
    "local_path_provisioner_strategy": "packaged",
    "traefik_strategy": "packaged",
}


def wished(params: dict[str, t.Any]) -> dict[str, t.Any]:
    """The spec that a module's parameters ask for; what was not given is left to the helper."""
    if params.get("state") == "absent":
        return dict(_PACKAGED, wait_timeout=params["wait_timeout"])
    return {key: params[key] for key in SPEC_ARGUMENTS if params[key] is not None}


def ansible_diff(result: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """The result's differences in the form that Ansible's callbacks print."""
    return [
        {
            "before_header": entry["object"],
            "after_header": entry["object"],
            "before": "" if entry.get("before") is None else entry["before"],
            "after": "" if entry.get("after") is None else entry["after"],
        }
        for entry in result.get("diff", [])
    ]
