# Copyright (c) The k3s_ha.core authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # The wish.
    DOCUMENTATION = r"""
options:
  level:
    description:
      - What may fail without an outage.
      - V(node) is the loss of any one node, V(none) keeps the settings but does not ask for several replicas.
      - V(zone) is the loss of any one zone. It needs nodes in two, and each node that can run CoreDNS must tell its
        zone by the label O(zone_label); else it is refused before anything is touched.
      - With V(auto) the highest level that the cluster's nodes can carry is taken, and RV(ignore:level) says why.
    type: str
    choices: [auto, none, node, zone]
    default: auto
  zone_label:
    description:
      - The key of the label by which nodes tell their zone. With another one than the default, which k3s itself spreads
        CoreDNS by, a spread over its values is added.
    type: str
    default: topology.kubernetes.io/zone
  node_affinity:
    description:
      - Labels that a node must carry to run a replica of any of the components, each with its value, or with a list of
        values of which one is enough. All labels are required.
      - Values are strings, so C(true) and numbers need quotes in YAML.
      - Where too few nodes are left for O(level), or for a number, it is refused before anything is touched. A
        component that is left as k3s ships it does not keep it, which a warning says.
    type: dict
  coredns_strategy:
    description:
      - How CoreDNS gets there.
      - V(autoscaling) lays settings over the packaged Deployment that k3s leaves alone, and adds a
        HorizontalPodAutoscaler and a PodDisruptionBudget.
      - V(replicas) does the same with a fixed count instead of the HorizontalPodAutoscaler. A count that drifted is
        put back.
      - V(daemonset) runs a replica per node from a DaemonSet of ours, made of what k3s ships, while the packaged
        Deployment has none. No replica comes up elsewhere for one whose node is gone.
      - V(custom) sets k3s's manifest aside on every server, by a file C(coredns.yaml.skip) beside it, and brings what
        it ships with the changes of O(coredns_image), O(coredns_resources), O(coredns_tolerations) and
        O(coredns_lameduck), under an autoscaler, or with O(coredns_replicas). A new release of k3s is followed by the
        next run, or the next look of the timer. Where every server has C(disable) coredns, it makes CoreDNS from a
        manifest of ours.
      - V(helm) runs it from a Helm chart, O(coredns_chart), by k3s's helm-controller and behind k3s's own Service,
        while the packaged Deployment has no replicas. The chart's values are made of what k3s ships, its Corefile too,
        and follow it with the next run.
      - V(packaged) leaves CoreDNS as k3s ships it, or brings it back to that.
    type: str
    choices: [autoscaling, replicas, daemonset, custom, helm, packaged]
    default: autoscaling
  coredns_min_replicas:
    description:
      - The HorizontalPodAutoscaler's minimum, 1 to 1000. This is what stays when a node is lost.
      - When not given, it follows from O(level) and the number of nodes.
      - A number that the cluster cannot place is refused before anything is touched.
    type: int
  coredns_max_replicas:
    description:
      - The HorizontalPodAutoscaler's maximum, 1 to 1000.
      - When not given, it is 5 or twice the minimum, whichever is more.
    type: int
  coredns_replicas:
    description:
      - The count of replicas under O(coredns_strategy=replicas) and O(coredns_strategy=helm), 1 to 1000; under
        O(coredns_strategy=custom) it takes the place of the autoscaler.
      - When not given, it follows from O(level) and the number of nodes.
      - A number that the cluster cannot place is refused before anything is touched.
    type: int
  coredns_daemonset_nodes:
    description:
      - Where CoreDNS runs under O(coredns_strategy=daemonset).
      - V(control_plane) is every node of the control plane whose taints CoreDNS tolerates, V(all) every node.
      - Where no node is left to it, or O(level) asks for more, it is refused before anything is touched.
    type: str
    choices: [control_plane, all]
    default: control_plane
  coredns_cpu_utilization:
    description:
      - The mean CPU utilization, in percent of the requests, 1 to 100, above which replicas are added.
    type: int
    default: 75
  coredns_traffic_distribution:
    description:
      - The C(trafficDistribution) of the Service C(kube-dns).
      - With V(PreferSameNode) clients ask the CoreDNS on their own node while there is one, so that
        another node's death costs them nothing; others ask those of their zone alone, where it has any.
      - V(auto) is V(PreferSameNode) where the server knows it (Kubernetes 1.34 and later) and nodes are in one zone,
        or each has a CoreDNS, else V(none).
      - V(none) leaves the field out.
    type: str
    choices: [auto, PreferSameNode, PreferSameZone, none]
    default: auto
  coredns_lameduck:
    description:
      - Seconds that CoreDNS answers on after it was told to end, 1 to 60, as its plugin C(health) has it (C(lameduck)).
      - Under O(coredns_strategy=custom). When not given, it is as k3s ships it, without.
    type: int
  coredns_manifest:
    description:
      - Objects that O(coredns_strategy=custom) applies in the place of those with the same kind and name in k3s's
        C(coredns.yaml), as a ConfigMap C(coredns) with a Corefile of one's own.
      - What is not among them is as k3s ships it, and follows each release; these follow this list alone.
      - A Deployment in it leaves out C(spec.replicas), and a ConfigMap C(NodeHosts), which k3s keeps.
    type: list
    elements: dict
  coredns_image:
    description:
      - The image of CoreDNS, in the place of the one that k3s ships.
      - Held under O(coredns_strategy=custom), O(coredns_strategy=daemonset) and O(coredns_strategy=helm). Elsewhere k3s
        would set it back, so it is refused before anything is touched.
    type: str
  coredns_resources:
    description:
      - C(requests) and C(limits) of the container of CoreDNS, beside those that k3s ships.
      - Held under O(coredns_strategy=custom), O(coredns_strategy=daemonset) and O(coredns_strategy=helm). Elsewhere k3s
        would set them back, so it is refused before anything is touched.
    type: dict
  coredns_tolerations:
    description:
      - Tolerations of the pods of CoreDNS, beside those that k3s ships.
      - Held under O(coredns_strategy=custom), O(coredns_strategy=daemonset) and O(coredns_strategy=helm). Elsewhere k3s
        would set them back, so it is refused before anything is touched.
    type: list
    elements: dict
  coredns_chart:
    description:
      - The Helm chart of CoreDNS under O(coredns_strategy=helm), which needs it.
      - C(version) is that of a chart in a repository; C(repo) is its URL, C(https://coredns.github.io/helm) when not
        given, and C(name) the chart's name there, C(coredns) when not given.
      - C(content) is the chart itself instead, its C(.tgz) in base64, at most 500,000 characters, for clusters that
        reach no repository.
    type: dict
  coredns_values:
    description:
      - Values of that chart, as it names them. They are merged over those of this collection, maps key by key and lists
        as a whole, and win.
      - What the strategy rests on, such as C(replicaCount) and C(isClusterService), is an error; the count is
        O(coredns_replicas).
      - They are kept in the cluster in plain text.
    type: dict
  metrics_server_strategy:
    description:
      - How metrics-server gets there, so that C(kubectl top) and every HorizontalPodAutoscaler go on when its node
        dies.
      - V(replicas) lays settings over the packaged Deployment that k3s leaves alone, so that two replicas are never
        on one node, and adds a PodDisruptionBudget. Where it is disabled, or not k3s's, nothing is done.
      - V(custom) does so with k3s's manifest set aside on every server, so that O(metrics_server_image),
        O(metrics_server_resources) and O(metrics_server_tolerations) hold. Where every server has C(disable)
        metrics-server, it makes metrics-server from a manifest of ours.
      - V(helm) runs it from a Helm chart, O(metrics_server_chart), behind k3s's own Service and APIService, while the
        packaged Deployment has no replicas.
      - V(packaged) leaves metrics-server as k3s ships it, or brings it back to that.
    type: str
    choices: [replicas, custom, helm, packaged]
    default: replicas
  metrics_server_replicas:
    description:
      - The count of replicas of metrics-server, 1 to 1000. With 1 it stays as k3s ships it.
      - When not given, it is 2 where two nodes can run it and O(level) asks for it.
      - A number that the cluster cannot place is refused before anything is touched.
    type: int
  metrics_server_manifest:
    description:
      - A Deployment that O(metrics_server_strategy=custom) applies in the place of the one that k3s ships, in a list of
        this one object.
      - It leaves out C(spec.replicas), and follows this list alone, no release.
    type: list
    elements: dict
  metrics_server_image:
    description:
      - The image of metrics-server, in the place of the one that k3s ships.
      - Held under O(metrics_server_strategy=custom) and O(metrics_server_strategy=helm). Elsewhere k3s would set it
        back, so it is refused before anything is touched.
    type: str
  metrics_server_resources:
    description:
      - C(requests) and C(limits) of the container of metrics-server, beside those that k3s ships.
      - Held under O(metrics_server_strategy=custom) and O(metrics_server_strategy=helm). Elsewhere k3s would set them
        back, so it is refused before anything is touched.
    type: dict
  metrics_server_tolerations:
    description:
      - Tolerations of the pods of metrics-server, beside those that k3s ships.
      - Held under O(metrics_server_strategy=custom) and O(metrics_server_strategy=helm). Elsewhere k3s would set them
        back, so it is refused before anything is touched.
    type: list
    elements: dict
  metrics_server_chart:
    description:
      - The Helm chart of metrics-server under O(metrics_server_strategy=helm), which needs it.
      - C(version) is that of a chart in a repository; C(repo) is its URL,
        C(https://kubernetes-sigs.github.io/metrics-server/) when not given, and C(name) the chart's name there,
        C(metrics-server) when not given.
      - C(content) is the chart itself instead, its C(.tgz) in base64, at most 500,000 characters, for clusters that
        reach no repository.
    type: dict
  metrics_server_values:
    description:
      - Values of that chart, as it names them. They are merged over those of this collection, maps key by key and lists
        as a whole, and win.
      - What the strategy rests on, such as C(replicas) and C(apiService.create), is an error; the count is
        O(metrics_server_replicas).
      - They are kept in the cluster in plain text.
    type: dict
  local_path_provisioner_strategy:
    description:
      - How local-path-provisioner gets there, so that volumes are made and removed when its node dies. What is on a
        node's disk is not copied anywhere.
      - V(replicas) runs several from a Deployment of ours, of which one is active while it holds a Lease, on nodes that
        carry the helper, and takes the packaged one's replica away. Where it is disabled, or not k3s's, nothing is
        done.
      - V(custom) does the same, and where every server was started with C(--disable local-storage) makes all of it
        from a manifest of ours, with the StorageClass C(local-path).
      - V(helm) runs one from a Helm chart, O(local_path_provisioner_chart), behind k3s's own StorageClass, while the
        packaged Deployment has no replicas. There is no standby, so while the node of its pod cannot be reached no
        volume is made or removed.
      - It is refused while the pod that is to go is on a node that is not ready, for two that are active can delete
        each other's volumes.
      - V(packaged) leaves local-path-provisioner as k3s ships it, or brings it back to that.
    type: str
    choices: [replicas, custom, helm, packaged]
    default: replicas
  local_path_provisioner_replicas:
    description:
      - The count of replicas of local-path-provisioner, 1 to 1000, of which one is active.
      - When not given, it is 2 where two nodes carry the helper and O(level) asks for it. In a cluster of one node it
        stays as k3s ships it.
      - A number that the cluster cannot place is refused before anything is touched, and one above 1 where k3s was told
        to do without local-path-provisioner and the strategy is not V(custom).
      - Under O(local_path_provisioner_strategy=helm) it is 1, and more are refused.
    type: int
  local_path_provisioner_image:
    description:
      - The image of local-path-provisioner, in the place of the one that k3s ships.
      - Not read under O(local_path_provisioner_strategy=packaged).
    type: str
  local_path_provisioner_resources:
    description:
      - C(requests) and C(limits) of the container of local-path-provisioner, beside those that k3s ships.
      - Not read under O(local_path_provisioner_strategy=packaged).
    type: dict
  local_path_provisioner_tolerations:
    description:
      - Tolerations of the pods of local-path-provisioner, beside those that k3s ships.
      - Not read under O(local_path_provisioner_strategy=packaged).
    type: list
    elements: dict
  local_path_provisioner_chart:
    description:
      - The Helm chart of local-path-provisioner under O(local_path_provisioner_strategy=helm), which needs it.
      - C(version) is that of a chart in a repository, and C(repo) its URL, which has no default, for upstream has none;
        C(name) is the chart's name there, C(local-path-provisioner) when not given.
      - C(content) is the chart itself instead, its C(.tgz) in base64, at most 500,000 characters, and 1,000,000 for all
        charts together.
    type: dict
  local_path_provisioner_values:
    description:
      - Values of that chart, as it names them. They are merged over those of this collection, maps key by key and lists
        as a whole, and win.
      - What the strategy rests on, such as C(replicaCount) and C(configmap.name), is an error.
      - They are kept in the cluster in plain text.
    type: dict
  extra_deployments:
    description:
      - Deployments beside k3s's own that are to have several replicas, too, each by its namespace and name.
      - Each is spread over hosts, and over zones where nodes are in several, as far as that can be had, and gets a
        PodDisruptionBudget, unless there is one over its pods. Everything else of it stays as it is.
      - Only for what may run more than once. A Deployment of strategy C(Recreate), or with a claim that one node
        mounts, is refused; what its programs do beside each other nobody can tell from here.
      - A count that another program holds, or a HorizontalPodAutoscaler, is refused, and so is one that is not there.
      - One that is taken off the list gets back the count that it had before it was on it.
    type: list
    elements: dict
    suboptions:
      namespace:
        description:
          - Its namespace.
        type: str
        required: true
      name:
        description:
          - Its name. CoreDNS, metrics-server and local-path-provisioner have options of their own.
        type: str
        required: true
      replicas:
        description:
          - The count of its replicas, 1 to 1000; with 1 it is left as it was.
          - When not given, it is 2 where two nodes can run it and O(level) asks for it, or what it had, if that is
            more.
        type: int
  traefik_strategy:
    description:
      - How traefik gets there, so that ingresses go on when its node dies.
      - V(helm) gives the chart that k3s ships values in HelmChartConfig C(kube-system/traefik), beside those of others,
        so that several replicas are spread over the nodes and drained one at a time, and waits until k3s has applied
        them.
      - It is refused where k3s's helm-controller or traefik is not there, and for several replicas where traefik orders
        certificates itself (ACME) or keeps them in a volume, for each replica would do so for itself.
      - V(packaged) leaves traefik as k3s ships it, or brings it back to that.
    type: str
    choices: [helm, packaged]
    default: packaged
  traefik_replicas:
    description:
      - The count of replicas of traefik, 1 to 1000, under O(traefik_strategy=helm).
      - When not given, it is 2 where two nodes can run it and O(level) asks for it, or more where values of others say
        so.
      - The spread over nodes is soft, so a number above that of the nodes is a warning.
    type: int
  traefik_values:
    description:
      - Values of the traefik chart under O(traefik_strategy=helm), as the chart names them. They are merged over those
        of this collection, maps key by key and lists as a whole, and win.
      - What contradicts another option is an error, such as C(deployment.replicas) beside another O(traefik_replicas).
      - They are kept in the cluster in plain text; the chart has other places for what is secret.
    type: dict
  wait_timeout:
    description:
      - For how many seconds, 10 to 3600, each single wait may last, for example the one for a rollout.
    type: int
    default: 300
  unreachable_counts_for:
    description:
      - For how many seconds, 0 to 3153600000, a node that is not heard of counts, so that an outage shrinks nothing.
    type: int
    default: 604800
"""
