// SPDX-License-Identifier: GPL-3.0-or-later
//
// The times follow from who notices what. A dead node stops renewing its lease; after the controller manager's grace
// period its Ready condition becomes Unknown and with it every pod's, and the endpoint goes. Until then each replica
// has an equal share of new queries. Eviction, and a replacement, comes when the pods' toleration has run out. When the
// holder of the controller manager's lease dies too, the next one starts the grace period afresh.
#include "ha/placement/prediction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace core_ha::ha {

namespace {

Json span(int from, int to) {
  return Json::array({from, to});
}

Json outage(const Json& share, const Json& seconds, const std::string& words) {
  return {{"lost_share", share}, {"seconds", seconds}, {"words", words}};
}

double share_of(int replicas) {
  return std::round(1000.0 / replicas) / 1000;
}

/// `1/3 of queries is lost on nodes without a replica, none on nodes with one,`
std::string lost_words(const Situation& s, int among) {
  const std::string lost = among == 1 ? "Every query is lost" : fmt::format("1/{} of queries is lost", among);
  const std::string where = s.local ? " on nodes without a replica" : " on nodes";
  if (among < s.replicas)
    return lost + where + " in the dead node's zone, which ask that zone's replicas alone, none on others,";
  return lost + (s.local ? where + ", none on nodes with one," : "");
}

}  // namespace

Json predict(const Situation& s) {
  Json result = Json::object();
  const Span unknown = detected(s.monitor, false);
  const Span led = detected(s.monitor, true);
  // Replacement: the endpoint's end, the toleration, then a pod's start.
  const int start = 20;
  result["full_strength"] = {
      {"seconds", span(unknown.from + s.toleration_seconds - 5, unknown.to + s.toleration_seconds - 5 + start)}};

  if (s.daemons) result["full_strength"] = {{"seconds", nullptr}};

  if (s.replicas < 2) {
    result["node_death"] =
        outage(1, span(unknown.from + s.toleration_seconds, unknown.to + s.toleration_seconds),
               "All queries are lost when the node with the only replica dies, until it is replaced.");
    if (s.nodes < 2 || s.daemons) {
      result["node_death"] = outage(1, nullptr, "All queries are lost until the node is back.");
      result["full_strength"] = {{"seconds", nullptr}};
    }
    return result;
  }
  if (!s.kube_proxy || !*s.kube_proxy) {
    const std::string why = s.kube_proxy ? "Services are not served by kube-proxy in its usual mode"
                                         : "Nothing tells whether kube-proxy serves the Services";
    for (const char* event : {"node_death", "lease_holder_death"})
      result[event] = outage("unknown", "unknown", why + ", so what a client sees is not known.");
    return result;
  }

  const bool everywhere = s.local && s.replicas >= s.nodes;
  if (everywhere) {
    const std::string words = "Nothing is lost on the surviving nodes: each asks its own replica.";
    result["node_death"] = outage(0, span(0, 0), words);
    result["lease_holder_death"] = outage(0, span(0, 0), words);
    return result;
  }
  const int among = s.among > 0 ? s.among : s.replicas;
  const double share = share_of(among);
  const Json shares = s.local || among < s.replicas ? Json::array({0, share}) : Json(share);
  const std::string lost = lost_words(s, among);
  result["node_death"] = outage(shares, span(unknown.from, unknown.to), lost + " until the dead endpoint goes.");
  if (s.servers == 0)
    result["lease_holder_death"] =
        outage(0, span(0, 0),
               "Nothing is lost: no server is a node (--disable-agent), so none takes a replica with it when it dies.");
  else if (s.servers < 2)
    result["lease_holder_death"] =
        outage(shares, nullptr,
               fmt::format("{} when the only server dies with a replica, until it is back, because nothing takes the "
                           "dead endpoint out.",
                           lost));
  else
    result["lease_holder_death"] = outage(shares, span(led.from, led.to),
                                          lost + " until the next controller manager takes the dead endpoint out.");
  return result;
}

}  // namespace core_ha::ha
