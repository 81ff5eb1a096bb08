// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/reconciling.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "cli/rebalancing.h"
#include "ha/rebalance.h"
#include "ha/spec.h"
#include "ha/state.h"
#include "ha/turn.h"

namespace core_ha::cli {
namespace {

/// The Nodes, with this server's marked.
Result<void> mark(kube::Client& client, Json& nodes, const Reconciling& options) {
  const auto own = std::find_if(nodes.begin(), nodes.end(),
                                [&](const Json& node) { return node["metadata"].value("name", "") == options.node; });
  if (own == nodes.end() || ha::reconciles(*own, options.version)) return {};
  const Json patch = {{"metadata",
                       {{"annotations", {{std::string(ha::reconciles_annotation), options.version}}},
                        {"labels", {{cluster::carries_label, options.version}}}}}};
  auto marked = client.merge_patch({"v1", "Node", "", options.node}, patch, {});
  if (!marked) return marked.error().as_error();
  log::progress(fmt::format("Node {} is marked as one that reconciles", options.node));
  *own = std::move(*marked);
  return {};
}

}  // namespace

Result<Reconciled> reconcile(kube::Client& client, const Reconciling& options) {
  auto answers =
      client.read_all({{.path = kube::rest_path(ha::state_object)}, {.path = "/api/v1/nodes", .list = true}});
  Reconciled out;
  if (!answers[0]) {
    if (answers[0].error().not_found()) return out;
    return answers[0].error().as_error();
  }
  if (!answers[1]) return answers[1].error().as_error();
  const auto kept = ha::read_state(*answers[0]);
  if (!kept)
    return Error{ExitStatus::conflict, fmt::format("{} is not as k3s-core-ha writes it: is it somebody else's?",
                                                   kube::to_string(ha::state_object))};
  Json nodes = (*answers[1])["items"];
  if (auto marked = mark(client, nodes, options); !marked) return marked.error();
  out.revision = kept->revision;
  out.turn = ha::whose_turn(nodes);
  if (out.turn.empty()) out.turn = options.node;
  if (out.turn != options.node) return out;

  const Json document = Json::parse(kept->spec, nullptr, false);
  auto spec = ha::parse_spec(document);
  if (!spec)
    return Error{spec.error().status,
                 fmt::format("The wish that the cluster keeps, of revision {}, cannot be read: {}", kept->revision,
                             document.is_discarded() ? "it is not JSON." : spec.error().message)};
  auto applied =
      apply_wish(client, *spec,
                 {.revision = kept->revision, .dry_run = false, .deadline = options.deadline, .poll = options.poll});
  if (!applied) return applied.error();
  out.applied = std::move(*applied);
  const bool idle = !out.applied->acted.error && !out.applied->acted.changed();
  if (idle && ha::choose_move(out.applied->snapshot).move) {
    auto moved = rebalance(client, {.deadline = options.deadline, .wait_timeout = spec->wait_timeout});
    if (!moved) return moved.error();
    if (moved->changed) out.moved = moved->words;
  }
  return out;
}

}  // namespace core_ha::cli
