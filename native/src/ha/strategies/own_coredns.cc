// SPDX-License-Identifier: GPL-3.0-or-later
//
// A cluster of which every server was started with `--disable coredns` has none of k3s's CoreDNS and no staged manifest
// to build on, and k3s does not feed NodeHosts there. Strategy custom then builds on the manifest below. It has the
// objects, names, labels and settings that k3s's own has, so that one who enables CoreDNS again finds it adopted, and
// NodeHosts are in it as of each run.
#include "ha/strategies/own_coredns.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>

#include "base/yaml.h"
#include "cluster/k3s.h"
#include "ha/placement/capacity.h"
#include "ha/strategies/absent.h"
#include "ha/strategies/coredns_served.h"

namespace core_ha::ha {

namespace {

/// As k3s v1.36.3 names it.
constexpr const char* image = "rancher/mirrored-coredns-coredns:1.14.7";

constexpr const char* manifest = R"(
apiVersion: v1
kind: ServiceAccount
metadata: {name: coredns, namespace: kube-system, labels: {k8s-app: kube-dns}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:coredns"}
rules:
- {apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:coredns"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}
subjects:
- {kind: ServiceAccount, name: coredns, namespace: kube-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    .:53 {
        errors
        health
        ready
        kubernetes DOMAIN in-addr.arpa ip6.arpa {
            pods insecure
            fallthrough in-addr.arpa ip6.arpa
        }
        hosts /etc/coredns/NodeHosts {
            ttl 60
            reload 15s
            fallthrough
        }
        prometheus :9153
        cache 30
        loop
        reload
        loadbalance
        import /etc/coredns/custom/*.override
        forward . /etc/resolv.conf
    }
    import /etc/coredns/custom/*.server
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: coredns
  namespace: kube-system
  labels: {k8s-app: kube-dns, kubernetes.io/name: CoreDNS}
spec:
  revisionHistoryLimit: 0
  strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 1}}
  selector: {matchLabels: {k8s-app: kube-dns}}
  template:
    metadata: {labels: {k8s-app: kube-dns}}
    spec:
      priorityClassName: system-cluster-critical
      serviceAccountName: coredns
      dnsPolicy: Default
      nodeSelector: {kubernetes.io/os: linux}
      tolerations:
      - {key: CriticalAddonsOnly, operator: Exists}
      - {key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}
      containers:
      - name: coredns
        imagePullPolicy: IfNotPresent
        args: [-conf, /etc/coredns/Corefile]
        resources:
          requests: {cpu: 100m, memory: 70Mi}
          limits: {memory: 170Mi}
        ports:
        - {name: dns, containerPort: 53, protocol: UDP}
        - {name: dns-tcp, containerPort: 53, protocol: TCP}
        - {name: metrics, containerPort: 9153, protocol: TCP}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {add: [NET_BIND_SERVICE], drop: [all]}
        livenessProbe: {httpGet: {path: /health, port: 8080, scheme: HTTP}, initialDelaySeconds: 60}
        readinessProbe: {httpGet: {path: /ready, port: 8181, scheme: HTTP}, periodSeconds: 2}
        volumeMounts:
        - {name: config-volume, mountPath: /etc/coredns, readOnly: true}
        - {name: custom-config-volume, mountPath: /etc/coredns/custom, readOnly: true}
      volumes:
      - name: config-volume
        configMap:
          name: coredns
          items: [{key: Corefile, path: Corefile}, {key: NodeHosts, path: NodeHosts}]
      - {name: custom-config-volume, configMap: {name: coredns-custom, optional: true}}
---
apiVersion: v1
kind: Service
metadata:
  name: kube-dns
  namespace: kube-system
  labels: {k8s-app: kube-dns, kubernetes.io/cluster-service: "true", kubernetes.io/name: CoreDNS}
spec:
  selector: {k8s-app: kube-dns}
  ports:
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
  - {name: metrics, port: 9153, protocol: TCP}
)";

std::vector<std::string> parts_of(const std::string& words) {
  std::vector<std::string> parts;
  for (std::size_t from = 0; from <= words.size();) {
    const std::size_t end = std::min(words.find(',', from), words.size());
    if (end > from) parts.push_back(words.substr(from, end - from));
    from = end + 1;
  }
  return parts;
}

/// The tenth address of a range, which is the DNS server's where k3s is told no other; empty: it is no range.
std::string tenth_of(const std::string& range) {
  const std::size_t slash = range.find('/');
  const int family = range.find(':') == std::string::npos ? AF_INET : AF_INET6;
  std::array<unsigned char, sizeof(in6_addr)> address{};
  if (inet_pton(family, range.substr(0, slash).c_str(), address.data()) != 1) return {};
  unsigned char& last = address.at(family == AF_INET ? 3 : 15);
  last = static_cast<unsigned char>((last & 0xf0U) + 10);  // a range of Services holds 16 addresses at least
  std::array<char, INET6_ADDRSTRLEN> text{};
  return inet_ntop(family, address.data(), text.data(), text.size()) == nullptr ? "" : text.data();
}

/// The addresses at which pods ask for names, the first one first.
std::vector<std::string> dns_addresses(const cluster::Snapshot& snapshot) {
  if (auto given = parts_of(cluster::told_by(snapshot, "--cluster-dns")); !given.empty()) return given;
  const std::string ranges = cluster::told_by(snapshot, "--service-cidr");
  std::vector<std::string> addresses;
  for (const auto& range : parts_of(ranges.empty() ? "10.43.0.0/16" : ranges))
    if (auto address = tenth_of(range); !address.empty()) addresses.push_back(std::move(address));
  return addresses;
}

}  // namespace

std::string node_hosts_of(const cluster::Snapshot& snapshot) {
  std::map<std::string, std::vector<std::string>> nodes;
  for (const auto& node : snapshot.nodes)
    for (const auto& address : node.value("status", Json::object()).value("addresses", Json::array()))
      if (address.value("type", "") == "InternalIP")
        nodes[node["metadata"]["name"]].push_back(address.value("address", ""));
  std::string lines;
  for (const auto& [name, addresses] : nodes)
    for (const auto& address : addresses)
      lines += fmt::format("{} {}\n", address, name);
  return lines;
}

Json own_coredns_objects(const cluster::Snapshot& snapshot) {
  auto objects = parse_yaml_documents(manifest);
  if (!objects) return Json::array();  // its test would have failed
  const auto addresses = dns_addresses(snapshot);
  const std::string domain = cluster::told_by(snapshot, "--cluster-domain");
  for (auto& object : *objects) {
    if (object["kind"] == "ConfigMap") {
      std::string& corefile = object["data"]["Corefile"].get_ref<std::string&>();
      corefile.replace(corefile.find("DOMAIN"), 6, domain.empty() ? "cluster.local" : domain);
      object["data"]["NodeHosts"] = node_hosts_of(snapshot);
    } else if (object["kind"] == "Deployment") {
      object["spec"]["template"]["spec"]["containers"][0]["image"] = cluster::pulled_as(snapshot, image);
    } else if (object["kind"] == "Service" && !addresses.empty()) {
      object["spec"]["clusterIP"] = addresses.front();
      object["spec"]["clusterIPs"] = addresses;
      object["spec"]["ipFamilyPolicy"] = addresses.size() > 1 ? "RequireDualStack" : "SingleStack";
    }
  }
  return std::move(*objects);
}

void view_absent(const Planner& planner, CoreDns& coredns) {
  if (coredns.deployment != nullptr) return;
  coredns.deployment = to_make(planner, coredns_component);
  coredns.absent = coredns.deployment != nullptr;
}

void plan_absent(Planner& planner, const CoreDns& coredns, const Sizing& sizing,
                 const std::vector<cluster::Node>& nodes) {
  if (!plan_service(planner, coredns, nodes, sizing.min_replicas)) return;
  plan_making(planner, coredns_component, wished_deployment(planner, coredns, nodes), sizing.min_replicas);
  check_placement(planner, coredns_component.title, coredns.pod_template(), nodes, sizing.min_replicas,
                  {.pods = sizing.min_replicas});
}

}  // namespace core_ha::ha
