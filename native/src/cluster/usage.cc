// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/usage.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "base/encoding.h"
#include "kube/status.h"

namespace core_ha::cluster {

namespace {

constexpr const char* pods_path = "/api/v1/pods";
constexpr const char* not_ended = "status.phase!=Succeeded,status.phase!=Failed";

Resources& operator+=(Resources& into, const Resources& more) {
  into.cpu += more.cpu;
  into.memory += more.memory;
  into.pods += more.pods;
  return into;
}

Resources most(const Resources& a, const Resources& b) {
  return {std::max(a.cpu, b.cpu), std::max(a.memory, b.memory), std::max(a.pods, b.pods)};
}

double quantity_in(const Json& amounts, const char* name) {
  const auto it = amounts.find(name);
  if (it == amounts.end()) return 0;
  return it->is_string() ? parse_quantity(it->get_ref<const std::string&>()) : it->is_number() ? it->get<double>() : 0;
}

Resources amounts_of(const Json& amounts) {
  if (!amounts.is_object()) return {};
  return {quantity_in(amounts, "cpu"), quantity_in(amounts, "memory"), quantity_in(amounts, "pods")};
}

Resources container_requests(const Json& container) {
  return amounts_of(container.value(Json::json_pointer("/resources/requests"), Json::object()));
}

}  // namespace

double parse_quantity(std::string_view text) {
  struct Suffix {
    std::string_view name;
    double factor;
  };
  constexpr std::array<Suffix, 13> suffixes{{{"m", 1e-3},
                                             {"k", 1e3},
                                             {"M", 1e6},
                                             {"G", 1e9},
                                             {"T", 1e12},
                                             {"P", 1e15},
                                             {"Ki", 1024.0},
                                             {"Mi", 1048576.0},
                                             {"Gi", 1073741824.0},
                                             {"Ti", 1099511627776.0},
                                             {"Pi", 1125899906842624.0},
                                             {"u", 1e-6},
                                             {"n", 1e-9}}};
  const std::string copy(text);
  char* end = nullptr;
  const double number = std::strtod(copy.c_str(), &end);
  if (end == copy.c_str()) return 0;
  const std::string_view rest(end);
  if (rest.empty()) return number;
  for (const auto& suffix : suffixes)
    if (rest == suffix.name) return number * suffix.factor;
  return 0;
}

Resources requests_of(const Json& pod_spec) {
  Resources together;
  for (const auto& container : pod_spec.value("containers", Json::array()))
    together += container_requests(container);
  Resources starting;  // the most that any init container needs, beside the sidecars started before it
  Resources sidecars;
  for (const auto& container : pod_spec.value("initContainers", Json::array())) {
    Resources now = container_requests(container);
    if (container.value("restartPolicy", "") == "Always") {
      sidecars += now;
      now = {};
    }
    now += sidecars;
    starting = most(starting, now);
  }
  together += sidecars;
  Resources all = most(together, starting);
  all += amounts_of(pod_spec.value("overhead", Json::object()));
  all.pods = 1;
  return all;
}

Resources allocatable_of(const Json& node) {
  const Json status = node.value("status", Json::object());
  return amounts_of(status.value("allocatable", status.value("capacity", Json::object())));
}

void UsageSums::add(const Json& pods) {
  for (const auto& pod : pods) {
    const Json& spec = pod["spec"];
    const std::string node = spec.value("nodeName", "");
    if (!node.empty()) sums_[node][spec.value("priority", 0)] += requests_of(spec);
  }
}

Json UsageSums::to_json() const {
  Json usage = Json::object();
  for (const auto& [node, by_priority] : sums_)
    for (const auto& [priority, sum] : by_priority)
      usage[node].push_back({{"priority", priority}, {"cpu", sum.cpu}, {"memory", sum.memory}, {"pods", sum.pods}});
  return usage;
}

Result<void> observe_all_usage(kube::Client& client, Snapshot& snapshot) {
  const std::string list = std::string(pods_path) + "?fieldSelector=" + encode_query(not_ended);
  const std::string page = fmt::format("&limit={}", kube::page_size);
  UsageSums sums;
  std::string token;
  std::string path = list + page;
  for (int pages = 0;; ++pages) {
    if (pages == kube::most_pages) return kube::endless_list(list).as_error();
    const auto answer = client.get(path);
    if (!answer) {
      const bool expired = answer.error().code == 410 && !token.empty();
      if (!expired) return answer.error().as_error();
      // The pages took longer than the server keeps them: everything in one piece.
      sums = {};
      token.clear();
      path = list;
      continue;
    }
    sums.add(answer->value("items", Json::array()));
    token = answer->value(Json::json_pointer("/metadata/continue"), "");
    if (token.empty()) break;
    path = list + page + "&continue=" + encode_query(token);
  }
  const Json all = sums.to_json();
  for (const auto& node : snapshot.nodes) {
    const std::string name = node["metadata"].value("name", "");
    snapshot.usage[name] = all.value(name, Json::array());
  }
  return {};
}

Result<void> observe_usage(kube::Client& client, Snapshot& snapshot, const std::vector<std::string>& nodes) {
  std::vector<kube::Read> reads;
  reads.reserve(nodes.size());
  // From the server's cache, where pods are found by their node: what a room is judged by may be a second old.
  for (const auto& node : nodes)
    reads.push_back({.path = std::string(pods_path) + "?resourceVersion=0",
                     .list = true,
                     .field_selector = fmt::format("spec.nodeName={},{}", node, not_ended)});
  auto answers = client.read_all(reads);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (!answers[i]) return answers[i].error().as_error();
    UsageSums sums;
    sums.add(answers[i]->value("items", Json::array()));
    snapshot.usage[nodes[i]] = sums.to_json().value(nodes[i], Json::array());
  }
  return {};
}

}  // namespace core_ha::cluster
