// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/coredns_daemonset.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/managed_fields.h"
#include "ha/manifests.h"
#include "ha/plan.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/strategies/coredns_view.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

const Spec control_plane{.coredns_strategy = "daemonset"};
const Spec all{.coredns_strategy = "daemonset", .coredns_daemonset_nodes = "all"};

/// Three nodes, two of them servers.
SimulatedCluster three_nodes() {
  SimulatedCluster cluster(3);
  cluster.node(1)["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = "true";
  return cluster;
}

void check(const SimulatedCluster& cluster, const Spec& spec) {
  if (spec.coredns_strategy == "packaged") return check_packaged(cluster);
  if (spec.coredns_strategy == "daemonset")
    return check_daemons(cluster, spec.coredns_daemonset_nodes == "all" ? 3 : 2);
  check_ours(cluster, 3, spec.coredns_strategy == "autoscaling");
}

std::string name_of(const Spec& spec) {
  return spec.coredns_strategy + (spec.coredns_strategy == "daemonset" ? " " + spec.coredns_daemonset_nodes : "");
}

const std::vector<const Spec*> strategies{&packaged, &autoscaling, &by_replicas, &control_plane, &all};

/// The cluster of each strategy.
SimulatedCluster at(const Spec& spec) {
  SimulatedCluster cluster = three_nodes();
  reach(cluster, spec);
  cluster.rolled = 0;
  return cluster;
}

Json& daemonset(SimulatedCluster& cluster) {
  return cluster.snapshot.daemonsets[0];
}

std::string image_of(const Json& object) {
  return object["spec"]["template"]["spec"]["containers"][0]["image"];
}

/// A release of k3s that ships another image.
void ship_image(SimulatedCluster& cluster, const std::string& image) {
  cluster.deployment()["spec"]["template"]["spec"]["containers"][0]["image"] = image;
  cluster.settle();
}

bool mentions(const std::vector<std::string>& sentences, const std::string& words) {
  return std::any_of(sentences.begin(), sentences.end(),
                     [&](const auto& sentence) { return sentence.find(words) != std::string::npos; });
}

}  // namespace

TEST_CASE("daemonset: the new pods are waited for before the old one is touched") {
  SimulatedCluster cluster = three_nodes();
  const Plan plan = make_plan(control_plane, cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  const std::string pod = cluster.snapshot.pods[0]["metadata"]["name"];
  const std::string set = cluster.snapshot.replicasets[0]["metadata"]["name"];
  CHECK(ids(plan) == std::vector<std::string>{"kube-dns-traffic", "coredns-daemonset", "coredns-daemons",
                                              "coredns-pause", "free-" + set, "freed-" + set, "coredns-scale",
                                              "forget-" + pod, "coredns-overlay", "quiet-" + pod, "coredns-drained",
                                              "end-" + pod, "ended-" + pod});
  CHECK(plan.level.name == "node");
  CHECK(plan.warnings.empty());
  CHECK(plan.components["coredns"]["strategy"] == "packaged");
  CHECK(plan.predicted["full_strength"]["seconds"].is_null());  // no pod comes up elsewhere
  reach(cluster, control_plane);
  check_daemons(cluster, 2);
  const Json stands = make_plan(control_plane, cluster.snapshot).components["coredns"];
  CHECK(stands["strategy"] == "daemonset");
  CHECK(stands["replicas"] == 2);
  CHECK(stands["ready"] == 2);
  CHECK(stands["nodes"] == Json{"agent-1", "server-1"});
}

TEST_CASE("daemonset: the template is the packaged one's, kept to its nodes and without what belongs to a Deployment") {
  for (const Spec* before : {&packaged, &autoscaling}) {
    SimulatedCluster cluster = at(*before);
    reach(cluster, control_plane);
    const Json& spec = daemonset(cluster)["spec"];
    const Json& pod = spec["template"]["spec"];
    const Json packaged_pod = cluster.deployment()["spec"]["template"]["spec"];
    for (const char* key : {"priorityClassName", "serviceAccountName", "tolerations", "nodeSelector"})
      CHECK(pod[key] == packaged_pod[key]);
    CHECK_FALSE(pod.contains("topologySpreadConstraints"));
    CHECK(pod["containers"][0]["image"] == packaged_pod["containers"][0]["image"]);
    CHECK(pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == 8);
    const Json labels = {{"k8s-app", "kube-dns"}, {"k3s-core-ha/component", "coredns"}};
    CHECK(spec["template"]["metadata"]["labels"] == labels);
    CHECK(spec["selector"] == Json{{"matchLabels", labels}});
    CHECK(spec["updateStrategy"] ==
          Json{{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", 1}, {"maxUnavailable", 0}}}});
    CHECK_FALSE(spec.contains("minReadySeconds"));
    CHECK_FALSE(cluster.deployment()["spec"]["template"]["metadata"]["labels"].contains("k3s-core-ha/component"));
  }
}

TEST_CASE("daemonset: what a template asks of its node already is asked for besides the control plane") {
  SimulatedCluster cluster = three_nodes();
  cluster.deployment()["spec"]["template"]["spec"]["affinity"]["nodeAffinity"] = {
      {"requiredDuringSchedulingIgnoredDuringExecution",
       {{"nodeSelectorTerms",
         Json::array({{{"matchExpressions", Json::array({{{"key", "disk"}, {"operator", "Exists"}}})}},
                      {{"matchFields",
                        Json::array({{{"key", "metadata.name"}, {"operator", "In"}, {"values", {"agent-2"}}}})}}})}}}};
  const CoreDns coredns = view_coredns(cluster.snapshot);
  for (const bool narrowed : {true, false}) {
    const Json body = daemonset_body(coredns, narrowed ? control_plane : all, 36);
    const Json& terms = body["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
                            ["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    REQUIRE(terms.size() == 2);
    CHECK(terms[0]["matchExpressions"].size() == (narrowed ? 2 : 1));
    CHECK(terms[1].contains("matchExpressions") == narrowed);
    CHECK(terms[1]["matchFields"].size() == 1);
  }
}

TEST_CASE("daemonset: between any two strategies, carried on or taken back from every point") {
  for (const Spec* first : strategies)
    for (const Spec* second : strategies) {
      if (first == second) continue;
      CAPTURE(name_of(*first));
      CAPTURE(name_of(*second));
      const SimulatedCluster start = at(*first);
      const Plan plan = make_plan(*second, start.snapshot);
      REQUIRE_FALSE(plan.refusal);
      for (std::size_t stop = 0; stop <= plan.steps.size(); ++stop) {
        CAPTURE(stop);
        SimulatedCluster half = start;
        carry_out(half, plan, stop);
        for (const Spec* end : {second, strategies[stop % strategies.size()]}) {
          CAPTURE(name_of(*end));
          SimulatedCluster cluster = half;
          reach(cluster, *end);
          check(cluster, *end);
          CHECK(cluster.rolled == 0);
        }
      }
    }
}

TEST_CASE("daemonset: stopped twice, on the way there, back and between its nodes") {
  struct Way {
    const Spec& first;
    const Spec& second;
    const Spec& third;
  };
  for (const Way& way : {Way{packaged, all, packaged}, Way{all, control_plane, all}}) {
    const SimulatedCluster start = at(way.first);
    const Plan there = make_plan(way.second, start.snapshot);
    for (std::size_t first = 0; first <= there.steps.size(); ++first) {
      SimulatedCluster half = start;
      carry_out(half, there, first);
      const Plan on = make_plan(way.third, half.snapshot);
      for (std::size_t second = first % 4; second <= on.steps.size(); second += 4) {
        CAPTURE(name_of(way.second));
        CAPTURE(name_of(way.third));
        CAPTURE(first);
        CAPTURE(second);
        const Spec& end = second % 2 == 0 ? way.first : way.second;
        SimulatedCluster cluster = half;
        carry_out(cluster, on, second);
        reach(cluster, end);
        check(cluster, end);
        CHECK(cluster.rolled == 0);
      }
    }
  }
}

TEST_CASE("daemonset: the old owners go when the new pods serve, and not before") {
  for (const auto& [first, second] : {std::pair{&all, &autoscaling}, std::pair{&all, &packaged}}) {
    SimulatedCluster cluster = at(*first);
    const Plan plan = make_plan(*second, cluster.snapshot);
    const auto steps = ids(plan);
    const auto place = [&](const std::string& id) { return std::find(steps.begin(), steps.end(), id); };
    REQUIRE(place("free-k3s-core-ha-coredns") != steps.end());
    CHECK(place("coredns-rollout") < place("free-k3s-core-ha-coredns"));
    for (const auto& step : plan.steps)
      if (step.object.kind == "DaemonSet" && step.action == Action::remove) {
        CHECK(step.propagation == "Orphan");
        CHECK_FALSE(step.uid.empty());
      }
  }
}

TEST_CASE(
    "daemonset: another image of k3s's is followed, by pods beside the old ones, and an equal one gives no step") {
  for (const Spec* spec : {&control_plane, &all}) {
    const SimulatedCluster start = [&] {
      SimulatedCluster cluster = at(*spec);
      ship_image(cluster, "rancher/mirrored-coredns-coredns:1.15.0");
      return cluster;
    }();
    const Plan plan = make_plan(*spec, start.snapshot);
    CHECK_FALSE(plan.steps.empty());
    for (std::size_t stop = 0; stop <= plan.steps.size(); ++stop) {
      CAPTURE(stop);
      for (const Spec* end : {spec, &packaged}) {
        SimulatedCluster cluster = start;
        carry_out(cluster, plan, stop);
        reach(cluster, *end);
        CHECK(cluster.rolled == 0);
        if (end == spec) {
          CHECK(image_of(daemonset(cluster)) == "rancher/mirrored-coredns-coredns:1.15.0");
          CHECK(cluster.serving() == (spec == &all ? 3 : 2));
          CHECK(cluster.snapshot.pods.size() == static_cast<std::size_t>(cluster.serving()));
          for (const auto& pod : cluster.snapshot.pods)
            CHECK(pod["spec"]["containers"][0]["image"] == image_of(daemonset(cluster)));
        } else {
          CHECK(cluster.snapshot.daemonsets.empty());
          CHECK(cluster.serving() == 1);
        }
      }
    }
  }
  SimulatedCluster cluster = at(all);
  ship_image(cluster, image_of(daemonset(cluster)));
  CHECK(make_plan(all, cluster.snapshot).steps.empty());
}

TEST_CASE("daemonset: what drifted is put back") {
  SimulatedCluster cluster = at(all);
  SUBCASE("the packaged Deployment was scaled by hand") {
    cluster.scale_by("kubectl", 2);
    reach(cluster, all);
    check_daemons(cluster, 3);
    CHECK(cluster.rolled == 0);
  }
  SUBCASE("somebody set the very count of 0, and k3s's is wished") {
    cluster.scale_by("kubectl", 0);
    const Plan plan = make_plan(packaged, cluster.snapshot);
    REQUIRE_FALSE(plan.refusal);
    carry_out(cluster, plan);
    CHECK(cluster.losses == std::vector<std::string>{});
    CHECK(cluster.serving() == 1);
    CHECK(make_plan(packaged, cluster.snapshot).steps.empty());
  }
  SUBCASE("a release of k3s declares a count") {
    cluster.set_field(cluster.deployment(), {"f:spec", "f:replicas"}, 1, "deploy@server-1");
    cluster.settle();
    reach(cluster, all);
    check_daemons(cluster, 3);
  }
  SUBCASE("the DaemonSet is gone with its pods") {
    cluster.snapshot.daemonsets.clear();
    cluster.snapshot.pods.clear();
    reach(cluster, all);
    check_daemons(cluster, 3);
  }
  SUBCASE("the DaemonSet is gone with its pods, and k3s's is wished") {
    cluster.snapshot.daemonsets.clear();
    cluster.snapshot.controllerrevisions.clear();
    cluster.snapshot.pods.clear();
    reach(cluster, packaged);
    CHECK(cluster.serving() == 1);
  }
  SUBCASE("another way to update it") {
    daemonset(cluster)["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = 1;
    CHECK(ids(make_plan(all, cluster.snapshot)) == std::vector<std::string>{"coredns-daemonset"});
    reach(cluster, all);
  }
  SUBCASE("another program holds the count") {
    cluster.set_field(cluster.deployment(), {"f:spec", "f:replicas"}, 2, "argocd-controller");
    cluster.settle();
    const Plan plan = make_plan(all, cluster.snapshot);
    REQUIRE(plan.refusal);
    CHECK(plan.refusal->status == ExitStatus::conflict);
    CHECK(plan.refusal->message.find("argocd-controller, at 2; ours would be 0") != std::string::npos);
  }
}

TEST_CASE("daemonset: a node that joins gets its replica by itself, a dead one keeps nothing up") {
  SimulatedCluster cluster = at(all);
  SUBCASE("joins") {
    cluster.join("agent-3");
    CHECK(make_plan(all, cluster.snapshot).steps.empty());
    check_daemons(cluster, 4);
  }
  SUBCASE("cordoned: a DaemonSet's pods are let in") {
    cluster.cordon(1);
    reach(cluster, control_plane);
    check_daemons(cluster, 2);
    reach(cluster, all);
    check_daemons(cluster, 3);
    CHECK(make_plan(all, cluster.snapshot).warnings.empty());
  }
  SUBCASE("dies before the change: its pods are not waited for") {
    cluster.silence(2, 60);
    const Plan plan = make_plan(control_plane, cluster.snapshot);
    REQUIRE_FALSE(plan.refusal);
    for (const auto& step : plan.steps)
      if (step.action == Action::wait_gone && step.object.kind == "Pod") {
        const Json* pod = cluster::find_named(cluster.snapshot.pods, step.object.name);
        REQUIRE(pod != nullptr);
        CHECK((*pod)["spec"]["nodeName"] != "agent-2");
      }
    reach(cluster, control_plane);
    CHECK(cluster.serving() == 2);
    reach(cluster, all);
    CHECK(cluster.serving() == 2);
    CHECK(mentions(make_plan(all, cluster.snapshot).warnings, "is not waited for: agent-2"));
  }
  SUBCASE("dies meanwhile, at any step") {
    for (const Spec* second : strategies) {
      if (second == &all) continue;
      SimulatedCluster start = at(all);
      const Plan plan = make_plan(*second, start.snapshot);
      for (std::size_t stop = 0; stop <= plan.steps.size(); ++stop) {
        CAPTURE(name_of(*second));
        CAPTURE(stop);
        SimulatedCluster half = start;
        carry_out(half, plan, stop);
        half.silence(2, 60);
        half.settle();
        const Plan rest = make_plan(*second, half.snapshot);
        if (rest.refusal) {
          CHECK(second == &packaged);
          CHECK(rest.refusal->message.starts_with("The packaged spread rule has no place"));
          continue;
        }
        carry_out(half, rest);
        CHECK(half.losses == std::vector<std::string>{});
        CHECK(make_plan(*second, half.snapshot).steps.empty());
      }
    }
  }
  SUBCASE("no node is ready") {
    for (int i = 0; i < 3; ++i)
      cluster.silence(i, 60);
    const Plan plan = make_plan(control_plane, cluster.snapshot);
    REQUIRE(plan.refusal);
    CHECK(plan.refusal->message.find("No node that can run CoreDNS is ready") != std::string::npos);
  }
}

TEST_CASE("daemonset: pods that ended are cleared away with their owner") {
  for (const auto& [first, second] : {std::pair{&all, &autoscaling}, std::pair{&autoscaling, &all}}) {
    SimulatedCluster cluster = at(*first);
    Json ended = cluster.snapshot.pods[0];
    ended["metadata"]["name"] = "coredns-pushed-out";
    ended["metadata"]["uid"] = "uid-pushed-out";
    ended["metadata"].erase("ownerReferences");
    for (const char* label : {"pod-template-hash", "k3s-core-ha/component"})
      ended["metadata"]["labels"].erase(label);
    ended["status"]["phase"] = "Failed";
    cluster.snapshot.pods.push_back(ended);
    reach(cluster, *second);
    check(cluster, *second);
  }
}

TEST_CASE("daemonset: which nodes, which level, and what is refused with numbers") {
  struct Row {
    const char* what;
    Spec spec;
    std::function<void(SimulatedCluster&)> change;
    int replicas;  ///< 0: refused
    std::string level;
    std::vector<std::string> words;  ///< of the level's reason, or of the refusal
  };
  const auto with_level = [](Spec spec, const char* level) {
    spec.level = level;
    return spec;
  };
  const auto one_server = [](SimulatedCluster& c) {
    c.node(1)["metadata"]["labels"].erase("node-role.kubernetes.io/control-plane");
  };
  const std::vector<Row> rows{
      {"two servers", control_plane, [](SimulatedCluster&) {}, 2, "node", {"each of 2 of 2 control-plane nodes"}},
      {"all nodes", all, [](SimulatedCluster&) {}, 3, "node", {"each of 3 of 3 registered nodes"}},
      {"a tainted agent",
       all,
       [](SimulatedCluster& c) { c.taint(2, "gpu", "NoSchedule"); },
       2,
       "node",
       {"2 of 3 registered nodes (not agent-2 (taint gpu:NoSchedule))"}},
      {"servers whose taints CoreDNS tolerates",
       control_plane,
       [](SimulatedCluster& c) {
         c.taint(0, "node-role.kubernetes.io/control-plane", "NoSchedule");
         c.taint(1, "CriticalAddonsOnly", "NoExecute");
       },
       2,
       "node",
       {"2 of 2 control-plane nodes"}},
      {"one server",
       control_plane,
       one_server,
       1,
       "none",
       {"1 of 1 control-plane nodes", "coredns_daemonset_nodes all"}},
      {"level none",
       with_level(all, "none"),
       [](SimulatedCluster&) {},
       3,
       "node",
       {"Level none is asked for", "gives node"}},
      {"level node with one server",
       with_level(control_plane, "node"),
       one_server,
       0,
       "none",
       {"level is node", "1 of 1 control-plane nodes", "with coredns_daemonset_nodes all it is 3 nodes"}},
      {"no server is a node",
       control_plane,
       [&](SimulatedCluster& c) {
         c.snapshot.nodes.erase(0);
         c.node(0)["metadata"]["labels"].erase("node-role.kubernetes.io/control-plane");
       },
       0,
       "none",
       {"every control-plane node", "0 of 0 control-plane nodes", "coredns_daemonset_nodes all it is 2 nodes"}},
      {"no node matches",
       all,
       [](SimulatedCluster& c) {
         for (int i = 0; i < 3; ++i)
           c.taint(i, "mine", "NoSchedule");
       },
       0,
       "none",
       {"0 of 3 registered nodes", "server-1 (taint mine:NoSchedule)"}},
      {"somebody else's autoscaler",
       all,
       add_foreign_autoscaler,
       0,
       "node",
       {"HorizontalPodAutoscaler kube-system/dns"}}};
  for (const auto& row : rows) {
    CAPTURE(row.what);
    SimulatedCluster cluster = three_nodes();
    row.change(cluster);
    const Plan plan = make_plan(row.spec, cluster.snapshot);
    CHECK(plan.refusal.has_value() == (row.replicas == 0));
    CHECK(plan.level.name == row.level);
    const std::string sentence = plan.refusal ? plan.refusal->message : plan.level.reason;
    CAPTURE(sentence);
    for (const auto& words : row.words)
      CHECK(sentence.find(words) != std::string::npos);
    if (row.replicas == 0) continue;
    carry_out(cluster, plan);
    check_daemons(cluster, row.replicas);
  }
}

TEST_CASE("daemonset: each node must have room for one more, and what others would lose is told") {
  SimulatedCluster cluster = three_nodes();
  cluster.deployment()["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] = {{"cpu", "100m"},
                                                                                                {"memory", "70Mi"}};
  const auto unread = make_plan(all, cluster.snapshot).unread;
  CHECK(unread == std::vector<std::string>{"server-1", "agent-1", "agent-2"});
  for (int i = 0; i < 3; ++i) {
    cluster.node(i)["status"]["allocatable"] = {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}};
    cluster.snapshot.usage[unread[static_cast<std::size_t>(i)]] = Json::array();
  }
  CHECK(make_plan(all, cluster.snapshot).unread.empty());
  const auto use = [&](int priority) {
    cluster.snapshot.usage["agent-2"] =
        Json::array({{{"priority", priority}, {"cpu", 3.95}, {"memory", 0}, {"pods", 5}}});
    return make_plan(all, cluster.snapshot);
  };
  const Plan pushes = use(0);
  CHECK_FALSE(pushes.refusal);
  CHECK(mentions(pushes.warnings, "pods of a lower priority may be pushed out on agent-2"));
  const Plan full = use(2000001000);
  REQUIRE(full.refusal);
  CHECK(full.refusal->status == ExitStatus::unsafe);
  CHECK(full.refusal->message.find("requests 0.10 CPU and 70 MiB on each node, and 1 of 3 have no room for it now "
                                   "(agent-2: 0.05 CPU") != std::string::npos);
  CHECK_FALSE(make_plan(control_plane, cluster.snapshot).refusal);  // agent-2 is none
}

TEST_CASE("daemonset: a key of another strategy is told") {
  const SimulatedCluster cluster = three_nodes();
  for (const Json& spec : {Json{{"coredns_strategy", "daemonset"}, {"coredns_replicas", 2}},
                           Json{{"coredns_strategy", "daemonset"}, {"coredns_min_replicas", 2}},
                           Json{{"coredns_daemonset_nodes", "all"}}}) {
    const Plan told = make_plan(wish(spec), cluster.snapshot);
    REQUIRE(told.warnings.size() == 1);
    CHECK(told.warnings[0].find("is not read under coredns_strategy") != std::string::npos);
  }
  CHECK(make_plan(all, cluster.snapshot).warnings.empty());
}

TEST_CASE("daemonset: manifests hold the DaemonSet and a packaged Deployment of 0, and can be taken over and left") {
  SimulatedCluster cluster = three_nodes();
  const auto objects = manifests(make_plan(all, cluster.snapshot));
  std::vector<std::string> kinds;
  for (const Json& object : objects) {
    kinds.push_back(object["kind"]);
    if (object["kind"] == "Deployment") CHECK(object["spec"] == Json{{"replicas", 0}});
    if (object["kind"] == "DaemonSet") CHECK(object["metadata"]["annotations"].contains("k3s-core-ha/keep"));
  }
  CHECK(kinds == std::vector<std::string>{"Service", "DaemonSet", "Deployment", "ConfigMap",
                                          "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"});
  for (const Json& object : objects)
    if (!object["kind"].get<std::string>().starts_with("Validating")) cluster.apply(object, "k3s-core-ha");
  cluster.settle();
  cluster.losses.clear();  // kubectl ends what it will
  reach(cluster, all);
  CHECK(cluster.serving() == 3);
  CHECK(cluster.deployment()["spec"]["replicas"] == 0);
  CHECK(manifests(make_plan(all, cluster.snapshot)) == objects);
  for (const Spec* end : {&packaged, &autoscaling, &control_plane}) {
    CAPTURE(name_of(*end));
    SimulatedCluster next = cluster;
    const Plan plan = make_plan(*end, next.snapshot);
    const auto steps = ids(plan);
    CHECK(std::find(steps.begin(), steps.end(), "unguard-daemonsets-k3s-core-ha-coredns") != steps.end());
    reach(next, *end);
    CHECK(next.rolled == cluster.rolled);
    CHECK(next.serving() == (end == &packaged ? 1 : end == &autoscaling ? 3 : 2));
  }
}
